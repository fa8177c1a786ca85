"Everything a notebook wants: `from forgetprune.all import *`"
import builtins as _builtins, sys as _sys, types as _types
from fastai.basics import *
from fastai.callback.progress import *
from fastai.callback.schedule import *
from fastai.callback.training import *
from forgetprune.data import *
from forgetprune.loaders import *
from forgetprune.classes import *
from forgetprune.networks import *
from forgetprune.layers import *
from forgetprune.training import *
from forgetprune.text import *
from forgetprune.watch import *
from forgetprune.cut import *
from forgetprune.chains import *
from forgetprune.curve import *
from forgetprune.sizing import *
from forgetprune.blocks import *
from forgetprune.wiring import *
from forgetprune.neurons import *
from forgetprune.tuning import *
from forgetprune.scores import *
from forgetprune.rivals import *
from forgetprune.controls import *
from forgetprune.silence import *
from forgetprune.forget import *
from forgetprune.channels import *
from forgetprune.outputs import *
from forgetprune.relearn import *
from forgetprune.witnesses import *
from forgetprune.judge import *
from forgetprune.audit_page import *
from forgetprune.golds import *
from forgetprune.references import *
from forgetprune.audit import *
from forgetprune.known import *
from forgetprune.reading import *
from forgetprune.lm import *
from forgetprune.magnitudes import *
from forgetprune.pruning import *
from forgetprune.published import *
from forgetprune.decay import *
from forgetprune.retrain import *
from forgetprune.draws import *
from forgetprune.selectors import *
from forgetprune.rounds import *
from forgetprune.recycle import *
from forgetprune.grids import *
from forgetprune.sweep import *
from forgetprune.seeds import *
from forgetprune.resume import *
from forgetprune.experiments import *
from forgetprune.folders import *

def _rebinds(name, value):
    "Is it a name of Python's, or of one of Python's modules, for something else?"
    module = name in _sys.stdlib_module_names and not isinstance(value, _types.ModuleType)
    return module or name in dir(_builtins)

# no tests, which pytest would collect
__all__ = [n for n,v in globals().items()
    if not n.startswith(('_', 'test')) and not _rebinds(n, v)]
