"""Find out what a network knows and where it keeps it, make it forget by pruning, and put idle
neurons back to work"""
import warnings as _warnings

__version__ = "0.1.0"

# fastai 2.8 calls `torch.jit.script` while it is imported, which newer versions of torch announce
# to remove
_warnings.filterwarnings('ignore', message='.*torch.jit.script.*', category=FutureWarning)
