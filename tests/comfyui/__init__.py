"""Runs this package inside real ComfyUIs, old and new, each in a throw-away folder and a process of its own."""
