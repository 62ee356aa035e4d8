"""From a spec to a torch module with weights in it."""
