"""Files on their way between the page, the platform and ComfyUI."""
