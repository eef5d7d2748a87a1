"""The platforms that are set up on this computer, and the one that ComfyUI starts itself."""
