import random, signal
import numpy as np, pytest, torch
from fastai.basics import Callback
from forgetprune.data import class_split, get_dls
from forgetprune.training import get_learner

signal.signal(signal.SIGINT, signal.default_int_handler) # a shell that starts tests in the background has it ignored, and children would inherit that

@pytest.fixture(autouse=True)
def same_numbers_each_time(): random.seed(0); np.random.seed(0); torch.manual_seed(0)

@pytest.fixture(scope='session')
def digits(): return get_dls('digits', bs=64, seed=0)

@pytest.fixture(scope='session')
def _trained(digits):
    learn = get_learner(digits, dict(name='mlp', sizes=(64, 48, 40, 24, 10)), recipe='adam', seed=0)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(30, 3e-3)
    return {n: t.clone() for n,t in learn.model.state_dict().items()}

@pytest.fixture
def learn(digits, _trained):
    "A small trained network on its own data, fresh for each test"
    learn = get_learner(digits, dict(name='mlp', sizes=(64, 48, 40, 24, 10)), recipe='adam', seed=0)
    learn.model.load_state_dict(_trained)
    return learn

@pytest.fixture
def sevens(digits): return class_split(digits.train, 7)

class Cpu16(Callback):
    "bfloat16 autocast on the CPU, as MixedPrecision does on a GPU"
    order = 10
    def before_batch(self): self.ctx = torch.autocast('cpu', torch.bfloat16); self.ctx.__enter__()
    def after_pred(self): self.learn.pred = self.pred.float()
    def after_loss(self): self.ctx.__exit__(None, None, None)

def same_state(a, b): return list(a)==list(b) and all(torch.equal(a[k], b[k]) for k in a)
