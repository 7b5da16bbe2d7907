class BackupFailed(Exception):
    """A backup cannot be made, read or restored. The text is one line for the operator."""
