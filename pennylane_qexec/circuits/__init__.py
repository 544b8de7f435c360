"""What circuits are made of: their structure, fingerprints, readout, serialization, and other frameworks' circuits."""
