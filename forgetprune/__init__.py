"Find out what a network knows and where it keeps it, make it forget by pruning, and put idle neurons back to work"
import warnings

__version__ = "0.1.0"

with warnings.catch_warnings(): # fastai 2.8 calls `torch.jit.script` while it is imported, which newer versions of torch announce to remove
    warnings.filterwarnings('ignore', message='.*torch.jit.script.*', category=FutureWarning)
    import fastai.layers as _
del warnings, _
