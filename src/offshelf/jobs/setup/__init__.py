"""Setup that jobs share: settings, labelled features, precision, cost of a run."""
