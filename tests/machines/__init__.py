"""Machines that are ComfyUIs, against a small one and against processes that are one."""
