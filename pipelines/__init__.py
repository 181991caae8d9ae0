"""The verbs, one per file. What Ray reads from the environment is set here, before any of them imports it."""

import os

RAY_ENVIRONMENT = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray's core logs an error for each actor pool with arguments, and goes on
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise each worker without a GPU warns of a coming change
    # A reader asks for its share of the CPUs every 10 s. One that was killed would hold its own for 180 s.
    "RAY_DATA_AUTOSCALING_REQUEST_EXPIRE_TIME_S": "30",
    # Warnings of every run: we use many small processes, and Serve's controller ends when it is asked to.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started|graceful_shutdown failed",
}
for name, value in RAY_ENVIRONMENT.items():
    os.environ.setdefault(name, value)
