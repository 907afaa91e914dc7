"""Kind ``pod_logs``: the logs of the pods, and which of their lines tell of an error."""
