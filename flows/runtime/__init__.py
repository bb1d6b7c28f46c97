"""What a run needs around it: processes, the run lock, Prefect's environment, notifications."""
