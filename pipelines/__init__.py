"""The fan-out: one verb per file. What Ray reads from the environment is set here, before any of them imports it."""

import os

FOR_RAY = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its core logs an error for each actor pool with arguments, and goes on
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else each worker without a GPU warns of a coming change
    # Who reads asks for its share of the CPUs every 10 s. What was killed would keep its own for 180 s.
    "RAY_DATA_AUTOSCALING_REQUEST_EXPIRE_TIME_S": "30",
    # Warnings of every run: many small processes are our way, and Serve's controller ends when it is told to.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "worker processes have been started|graceful_shutdown failed",
}
for name, value in FOR_RAY.items():
    os.environ.setdefault(name, value)
