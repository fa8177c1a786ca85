"""A training that dies and is resumed ends in the same bits as one that went through

    python -m trial.resumed --n 40

Small language models are trained with callbacks, optimiser and schedule drawn at random, and die at
an event drawn at random. A process that writes a checkpoint is killed
before each change of a file. What is resumed must end in the same weights, the same memory of the
optimiser and of callbacks; with another learning rate, batch size, number of steps or callbacks it
must be refused before anything is trained. Prints counts as JSON; exits with 1 on a failure.
"""
import argparse, contextlib, io, itertools, random, tempfile, warnings
from pathlib import Path
import torch
from fastai.basics import Adam, Callback, SGD, set_seed
from fastai.callback.tracker import EarlyStoppingCallback, ReduceLROnPlateau, SaveModelCallback
from fastai.callback.training import GradientClip
from forgetprune.decay import MidpointLoss
from forgetprune.magnitudes import MagnitudeRecorder
from forgetprune.pruning import GradualPruning
from forgetprune.recycle import Recycle
from forgetprune.resume import Checkpoints, checkpoints, last_checkpoint
from forgetprune.retrain import RetrainSubset
from forgetprune.text import get_text_dls, lm_learner
from trial.common import at_change, count, end, in_child, kill

words = 'the quick brown fox\njumps over the lazy dog\n'*40

class Stop(Callback):
    "Dies at its `left`-th event"
    order = 130
    def __init__(self, at=None): self.left = at
    def __call__(self, event_name):
        if self.left is not None:
            self.left -= 1
            if self.left < 0: raise KeyboardInterrupt
        return super().__call__(event_name)
    def state_dict(self): return {}
    def load_state_dict(self, state): pass

kinds = dict(recycle=lambda: Recycle(5, 0.25, 'utility', 'current', immunity=1, smooth=6),
    prune=lambda: GradualPruning(0.5, start=2, end=20, every=4), clip=lambda: GradientClip(0.1),
    retrain=lambda: RetrainSubset('low', 0.25, warm=8), midpoint=lambda: MidpointLoss(0.1),
    recorder=lambda: MagnitudeRecorder(5), saved=lambda: SaveModelCallback(),
    plateau=lambda: ReduceLROnPlateau(min_delta=0.1, patience=1),
    early=lambda: EarlyStoppingCallback(min_delta=0.05, patience=2))

def fit(folder, how, at=None, resume=None, **changed):
    "Train as `how` says, until the `at`-th event"
    how = {**how, **changed}
    set_seed(1 if resume else 0)
    dls = get_text_dls(words, bs=how['bs'], context=16, steps=how['steps'], n_valid=20,
        device='cpu')
    l = lm_learner(dls, d_model=16, n_layers=2, n_heads=2, d_ff=24)
    l.path = folder
    if how['opt']: l.opt_func = how['opt']
    cbs = [*(kinds[k]() for k in how['cbs']), Stop(at), Checkpoints(folder, 3, resume=resume)]
    with l.no_bar(), l.no_logging():
        try: getattr(l, how['fit'])(3, how['lr'], cbs=cbs)
        except KeyboardInterrupt: return None
    return l

def flat(x, at=''):
    "Leaves of nested dicts and lists"
    if isinstance(x, dict): parts = x.items()
    elif isinstance(x, (list, tuple)): parts = enumerate(x)
    else: return {at: x}
    return dict(itertools.chain(*(flat(v, f'{at}.{k}').items() for k,v in parts)))

def differs(a, b):
    "Where two checkpoints are not the same"
    a,b = flat(a),flat(b)
    same = lambda x,y: torch.equal(x, y) if isinstance(x, torch.Tensor) else x==y
    return [n for n in {**a, **b} if n not in a or n not in b or not same(a[n], b[n])]

def one(folder, rng, counts):
    "One training, its death and what came of it"
    lone = [k for k in kinds if k not in ('recycle', 'prune', 'retrain')]
    cbs = [rng.choice(['recycle', 'prune', 'retrain']), *rng.sample(lone, 2)]
    how = dict(cbs=cbs, opt=rng.choice([None, Adam, SGD]), lr=rng.choice([1e-2, 3e-3]), bs=4,
        steps=rng.choice([5, 7]), fit=rng.choice(['fit', 'fit_one_cycle']))
    for n in 'ab': (folder/n).mkdir()
    whole = fit(folder/'a', how)
    fit(folder/'b', how, at=rng.randrange(60, 260))
    died = 'trainings that died at an event'
    if not checkpoints(folder/'b'): return count(counts, died, 'before the first checkpoint')
    s = last_checkpoint(folder/'b')
    key,value = rng.choice([('lr', 5e-3), ('bs', 5), ('steps', 6), ('cbs', cbs[:2])])
    try: fit(folder/'b', how, resume=s, **{key: value})
    except ValueError: came = 'refused before anything was trained'
    else: came = f'wrong: {how}: another {key} was not noticed'
    count(counts, 'resumed with another setting', came)
    late = fit(folder/'b', how, resume=s)
    count(counts, died, judged(whole, late, folder, how))

def judged(whole, late, folder, how):
    "Is a training that was resumed the one that went through?"
    wrong = differs(whole.model.state_dict(), late.model.state_dict())
    wrong += differs(*(last_checkpoint(folder/n) for n in 'ab'))
    wrong += [p.name for p in (folder/'b').iterdir() if p.name.startswith('.')]
    return f'wrong: {how}: {wrong[:3]}' if wrong else 'resumed, the same to the bit'

def in_writing(folder, n, whole, how):
    "A training that is killed before its `n`-th change of a file; None if it makes fewer"
    (folder/'b').mkdir()
    def child():
        at_change(folder/'b', n, kill)
        fit(folder/'b', how)
    if in_child(child)==0: return None
    there = checkpoints(folder/'b')
    try: s = last_checkpoint(folder/'b') if there else None
    except ValueError as e: return f'wrong: {e}'
    came = judged(whole, fit(folder/'b', how, resume=s), folder, how)
    return came if s or came.startswith('wrong') else 'before the first checkpoint, begun anew'

def writers(counts):
    "Kill a writer of checkpoints before each of its changes"
    how = dict(cbs=['recycle', 'saved'], opt=None, lr=1e-2, bs=4, steps=5, fit='fit_one_cycle')
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        (d/'a').mkdir()
        whole = fit(d/'a', how)
        for n in itertools.count(1):
            with tempfile.TemporaryDirectory() as of:
                (Path(of)/'a').symlink_to(d/'a')
                came = in_writing(Path(of), n, whole, how)
            if came is None: return
            count(counts, 'killed at a change of a file', came)

def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('--n', type=int, default=40, help='trainings that die at an event')
    ap.add_argument('--seed', type=int, default=0)
    a = ap.parse_args()
    rng,counts = random.Random(a.seed),{}
    warnings.simplefilter('ignore')
    with contextlib.redirect_stdout(io.StringIO()):
        for _ in range(a.n):
            with tempfile.TemporaryDirectory() as d: one(Path(d), rng, counts)
        writers(counts)
    end(counts)

if __name__=='__main__': main()
