"""``audit``: what is wrong with labelled images."""
