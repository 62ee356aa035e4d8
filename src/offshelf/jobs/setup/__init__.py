"""What jobs share before they begin: settings, data and network, precision, time left."""
