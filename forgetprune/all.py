"Everything a notebook wants: `from forgetprune.all import *`"
from forgetprune import __version__
from fastai.basics import *
from fastai.callback.progress import *
from fastai.callback.schedule import *
from fastai.callback.training import *
from forgetprune.data import *
from forgetprune.models import *
from forgetprune.text import *
from forgetprune.layers import *
from forgetprune.forget import *
from forgetprune.outputs import *
from forgetprune.audit import *
from forgetprune.erase import *
from forgetprune.magnitudes import *
from forgetprune.decay import *
from forgetprune.retrain import *
