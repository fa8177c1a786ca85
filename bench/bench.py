"""Speed as ratios, measured in this run against the obvious alternative, with the limit beside it.

    python bench/bench.py [--full] [--only PART...] [--out bench/out/bench.json]

`--out bench/results.json` renews the figures that the site shows.

Times are CPU time on one thread (`time.process_time`; with several threads, waiting counts as
work), of this process or of one that was started for a row; memory is the peak of such a process,
in MiB.
Where CUDA is there, scoring and a curve are also timed on it, in bfloat16, by the clock.
The slow rivals of the curves are run for two of the ten classes and scaled up, or for all ten with
`--full`.
"""
import argparse, copy, json, os, platform, subprocess, sys, tempfile, time
from contextlib import ExitStack
from unittest import mock
from pathlib import Path
import numpy as np, torch
from fastai.callback.progress import *
from threadpoolctl import threadpool_limits
from torch.utils.data import TensorDataset
from forgetprune.basics import whole_file
from forgetprune.classes import *
from forgetprune.chains import CachedInputs
from forgetprune.curve import *
from forgetprune.curve import naive_curve
from forgetprune.cut import *
from forgetprune.data import *
from forgetprune.forget import *
from forgetprune.layers import *
from forgetprune.networks import *
from forgetprune.rivals import *
from forgetprune.scores import *
from forgetprune.training import *
from forgetprune.watch import *

def cpu(f, reps=1):
    "Least CPU seconds of `reps` calls, and the last result"
    best = float('inf')
    for _ in range(reps):
        t = time.process_time()
        res = f()
        best = min(best, time.process_time()-t)
    return best, res

def everything(dls, bs=256):
    "All 60,000 training images in one unshuffled loader"
    xs,ys = [torch.cat([dls.train.tensors[i], dls.valid.tensors[i]]) for i in (0, 1)]
    return TensorDL(TensorDataset(xs, ys), bs=bs)

def processor():
    "What the processor calls itself"
    info = Path('/proc/cpuinfo')
    names = [l.partition(':')[2].strip() for l in info.read_text().splitlines()
        if l.startswith('model name')] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()

def matmul_rate():
    """Multiply-adds per CPU second of a large float32 matrix product, the ceiling for everything
    here"""
    a,b = torch.rand(1000, 1000),torch.rand(1000, 4000)
    t,_ = cpu(lambda: [a@b for _ in range(5)], 3)
    return 5*1000*1000*4000/t

MEMORY = '''
def memory(name): # MiB
    return next(int(l.split()[1])/1024 for l in open('/proc/self/status') if l.startswith(name))
def forget_peak(): # that of the imports, and on Linux that of the parent
    with open('/proc/self/clear_refs', 'w') as f: f.write('5')
'''

PEAK = MEMORY+'''
import sys, torch
from forgetprune.networks import mlp
from forgetprune.scores import class_means
def batches(n):
    for i in range(n): yield torch.rand(256, 784), torch.arange(256)%10
torch.manual_seed(0)
class_means(mlp(), batches(1), c=10) # warm
forget_peak()
class_means(mlp(), batches(int(sys.argv[1])), c=10)
print(memory('VmHWM'))
'''
def peak_mib(n):
    return float(subprocess.run([sys.executable, '-c', PEAK, str(n)], capture_output=True,
        text=True, check=True).stdout)

def scoring(learn, dls, rate):
    net,dl = learn.model,everything(dls)
    n = len(dl.dataset)
    score,means = cpu(lambda: class_means(net, dl), 3)
    trainer = get_learner(dls)
    trainer.create_opt()
    def epoch(): # without fastai's callbacks, which would only make it slower
        for x,y in dl.new(shuffle=True):
            trainer.loss_func(trainer.model(x), y).backward()
            trainer.opt.step(); trainer.opt.zero_grad()
    train,_ = cpu(epoch)
    k = 64
    few = TensorDL(TensorDataset(*(t[:k] for t in dl.tensors)), bs=k)
    layers = inner(net)
    def naive():
        seen = {}
        with watching(net, layers, lambda n,l,x,o: seen.update({n: x})), torch.no_grad():
            net(few.tensors[0])
        return {n: [(l.weight[None]*seen[n][few.tensors[1]==c][:,None]).abs().mean(0)
            for c in few.tensors[1].unique()] for n,l in layers.items()}
    t_naive,_ = cpu(naive, 3)
    target,rest = class_split(dl, 7)
    t_ssd,_ = cpu(lambda: ssd(net, target, rest, loss_func=learn.loss_func))
    need = n*sum(l.weight.numel() for l in list(linears(net).values())[:-1])/rate
    small,large = peak_mib(8),peak_mib(235)
    return [
        dict(what='score all 10 classes, 60,000 images / one training epoch', ours=score,
        rival=train, ratio=score/train, asked='<= 0.5', limit=need,
        limit_is='one forward pass below the last layer, at the rate of a large matrix product'),
        dict(what='naive MAAV / closed form, per image', ours=score/n, rival=t_naive/k,
        ratio=(t_naive/k)/(score/n), asked='>= 10', limit=need/n, limit_is='one forward pass'),
        dict(what='SSD importance of one class / MAAV of all 10, 60,000 images', ours=score,
        rival=t_ssd, ratio=t_ssd/score, asked='beside', limit=need,
        limit_is='one forward pass; SSD also needs the backward pass and one product per layer'),
        dict(what='peak memory, 60,160 images / 2,048 images (MiB)', ours=large, rival=small,
        ratio=large/small, asked='about 1', limit=small,
        limit_is='the process with the model and one batch')]

RESNET = MEMORY+'''
import sys, torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18
from forgetprune.classes import class_split
from forgetprune.scores import class_means, maav_difference
torch.set_num_threads(1)
torch.manual_seed(0)
net,n,size = resnet18(num_classes=10).eval(),int(sys.argv[2]),64
dl = DataLoader(TensorDataset(torch.rand(n, 3, size, size), torch.arange(n)%10), batch_size=64)
@torch.no_grad()
def plain():
    for x,_ in dl: net(x)
ways = dict(plain=plain, means=lambda: class_means(net, dl, c=10),
    call=lambda: maav_difference(net, *class_split(dl, 7)))
'''

RESNET_TIMES = RESNET+'''
import time
times = {w: [] for w in ways}
for _ in range(1+int(sys.argv[1])):
    for w,f in ways.items():
        t = time.process_time()
        f()
        times[w].append(time.process_time()-t)
print(*[min(t[1:]) for t in times.values()]) # the first of each warms up
'''

RESNET_PEAK = RESNET+'''
plain()
forget_peak()
ways[sys.argv[1]]()
print(memory('VmHWM'))
'''

def fresh(code, *args):
    "What a process of its own prints, as numbers"
    said = subprocess.run([sys.executable, '-W', 'ignore', '-c', code, *map(str, args)],
        capture_output=True, text=True, check=True).stdout
    return [float(v) for v in said.split()]

def ordinary_loaders(rate, n=640, reps=5):
    "A ResNet-18 on pictures of 64 by 64, read by PyTorch's own loader"
    plain,means,call = fresh(RESNET_TIMES, reps, n)
    floor,peak = fresh(RESNET_PEAK, 'plain', n)[0],fresh(RESNET_PEAK, 'means', n)[0]
    need = n*resnet_macs(64)/rate
    what = f'ResNet-18, {n} pictures of 64 x 64, '
    limit = dict(limit=need, limit_is='the multiply-adds of its layers, at the rate of a large '
        'matrix product')
    return [
        dict(what=what+'means of all classes / a plain forward pass', ours=means, rival=plain,
            ratio=means/plain, asked='<= 1.15', **limit),
        dict(what=what+'scores as a user calls them / the same', ours=call, rival=plain,
            ratio=call/plain, asked='beside', **limit),
        dict(what=what+'peak memory (MiB) / the same', ours=peak, rival=floor,
            ratio=peak/floor, asked='<= 1.1', limit=floor,
            limit_is='the process with the model, the pictures and one batch')]

def resnet_macs(size):
    "Multiply-adds of one picture in a ResNet-18"
    from torchvision.models import resnet18
    net,macs = resnet18(num_classes=10).eval(),[]
    with watching(net, linears(net), lambda n,l,x,o: macs.append(
            o[0].numel()*l.weight[0].numel())), torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    return sum(macs)

def sorting_curve(model, scores, ks, dl, target):
    "The way it is mostly written: per level a copy, a full sort of the scores, an evaluation"
    rows = []
    for k in ks:
        m = copy.deepcopy(model)
        for n,s in scores.items():
            m.get_submodule(n).weight.data.view(-1)[s.flatten().argsort(descending=True)[:k]] = 0
        rows.append((k, *class_accuracies(m, dl, target)))
    return rows

def beside(what, ours, naive, sorting, wanted):
    "Rows for `prune_curve` against the two ways in which a curve is mostly written"
    ways = {'top k': naive, 'sort': sorting}
    return [dict(what=f'{what}: copy, {way}, evaluate / prune_curve', ours=ours, rival=t,
        ratio=t/ours, asked=wanted) for way,t in ways.items()]

def curves(learn, dls, rate, full, most):
    # a few thousand weights are what forgetting takes
    net,test,few = learn.model,dls.test,most<=10_000
    means,ks = class_means(net, everything(dls)),[int(k) for k in np.linspace(0, most, 50)]
    first,last = inner(net)
    choices = {'both': [first, last], f'{first} alone': [first], f'{last} alone': [last]}
    scores = {c: class_difference(means, c) for c in range(10)}
    pick = lambda c,names: {n: scores[c][n] for n in names}
    rows,total = [],[0, 0, 0]
    t_cache,cache = cpu(lambda: CachedInputs(net, test))
    classes = range(10) if full else (0, 7)
    for what,names in choices.items():
        ours,got = cpu(lambda: {c: prune_curve(net, pick(c, names), ks, cache, c)
            for c in range(10)})
        rival,want = cpu(lambda: {c: naive_curve(net, pick(c, names), ks, test, c)
            for c in classes})
        sorts,_ = cpu(lambda: sorting_curve(net, pick(7, names), ks, test, 7))
        rival,sorts = rival*10/len(classes),sorts*10
        for c in classes: np.testing.assert_array_equal(got[c].values, want[c].values)
        for i,t in enumerate((ours, rival, sorts)): total[i] += t
        wanted = '' if names!=[last] else '>= 60' if few else 'beside'
        rows += beside(f'50 levels to {most:,} x 10 classes, {what}', ours, rival, sorts, wanted)
    total[0] += t_cache
    return rows+beside(f'all three, to {most:,}', *total, '>= 25' if few else 'beside')

def one_curve(learn, dls, rate):
    "A curve as a user calls it: one class, 50 levels, nothing remembered beforehand"
    net,test,ks = learn.model,dls.test,[int(k) for k in np.linspace(0, 10_000, 50)]
    scores = class_difference(class_means(net, test), 7)
    first,last = inner(net)
    once,_ = cpu(lambda: class_accuracies(net, test, 7), 3)
    need = floor(learn, dls, rate, 10_000, (7,))
    rows = []
    for what,names in {'both': [first, last], f'{last} alone': [last]}.items():
        mine = {n: scores[n] for n in names}
        ours,got = cpu(lambda: prune_curve(net, mine, ks, test, 7), 3)
        rival,want = cpu(lambda: naive_curve(net, mine, ks, test, 7))
        np.testing.assert_array_equal(got.values, want.values)
        rows.append(dict(what=f'50 levels to 10,000, one class, {what}: copy, top k, evaluate / '
            'prune_curve', ours=ours, rival=rival, ratio=rival/ours,
            asked='>= 20' if names!=[last] else '>= 60', limit=once+need[what],
            limit_is='one evaluation, and multiply-adds for changed units only'))
    return rows

def floor(learn, dls, rate, most, classes=range(10)):
    """CPU seconds for the multiply-adds that the levels need: changed units times the width above,
    and the outputs"""
    net,n_img = learn.model,len(dls.test.dataset)
    means,ks = class_means(net, dls.test),[int(k) for k in np.linspace(0, most, 50)]
    (first,last),head = inner(net),last_linear(net)
    mid,out = head.in_features,head.out_features
    res = {}
    for what,names in {'both': [first, last], f'{first} alone': [first],
            f'{last} alone': [last]}.items():
        macs = 0
        for c in classes:
            s,prev = class_difference(means, c),{n: set() for n in names}
            for k in ks:
                rows = {}
                for n in names:
                    now = set(top_indices(s[n], k).tolist())
                    rows[n] = len({i//s[n].shape[1] for i in now-prev[n]})
                    macs += len(now-prev[n])*n_img # the cut weights themselves
                    prev[n] = now
                macs += n_img*(rows[first]*mid+mid*out if first in names else rows[last]*out)
        res[what] = macs/rate
    return res

def auditing(dls, rate):
    """The parts of an audit, each against training the network once (one thread, gold networks
    there)"""
    from functools import partial
    from torch.utils.flop_counter import FlopCounterMode
    import forgetprune.audit as A, forgetprune.references as R
    from forgetprune.outputs import get_gold
    trained,again = get_learner(dls, seed=0),get_learner(dls, seed=0)
    with again.no_bar(), again.no_logging(), tempfile.TemporaryDirectory() as d:
        train_s,_ = cpu(lambda: train(again, d))
    with trained.no_bar(), trained.no_logging(): train(trained)
    gold = [get_gold(trained, 7, s, progress=False) for s in (1000, 2000, 3000)]
    cut = largest(trained.model, maav_difference(trained.model, *class_split(dls.train, 7)), 20_000)
    cut.apply(trained.model)
    names = dict(relearn_all='relearning', probe_all='probes', membership='membership attacks',
        distances='distances', over_suppression='over-suppression')
    def counted(f):
        with FlopCounterMode(display=False) as c: res = f()
        return c.get_total_flops()/2, res # a multiply-add is two
    def in_parts(measure):
        "What `measure` says of each part of an audit, and of all of it"
        parts = {}
        def part(name, f):
            def g(*a, **k):
                t,res = measure(partial(f, *a, **k))
                parts[name] = parts.get(name, 0)+t
                return res
            return g
        with ExitStack() as patches:
            for module,name in ((m, n) for m in (A, R) for n in names if hasattr(m, n)):
                f = part(name, getattr(module, name))
                patches.enter_context(mock.patch.object(module, name, f))
            parts['in all'] = measure(lambda: A.audit(trained, 7, gold, cut, progress=False))[0]
        return parts
    parts,macs = in_parts(cpu),in_parts(counted)
    return [dict(what=f'audit, {names.get(n, n)} / training the network', ours=t, rival=train_s,
        ratio=t/train_s, asked='<= 1.2' if n=='in all' else '', limit=macs[n]/rate,
        limit_is="PyTorch's matrix products alone, at the rate of a large one") for n,
        t in parts.items()]

def recording(steps=300):
    """A training step with the recorder looking every 50 steps, against one without; and `Encoder`
    training through fastai against a bare loop of the same model and batches"""
    from forgetprune.magnitudes import magnitudes
    from forgetprune.blocks import ffns
    from forgetprune.text import get_text_dls, lm_learner, masked_loss
    make = lambda n=steps: lm_learner(get_text_dls(bs=32, steps=n, device='cpu'))
    def fastai():
        l = make()
        with l.no_bar(), l.no_logging():
            return cpu(lambda: l.fit(1, 3e-3, cbs=[]))[0]-cpu(lambda: l.validate())[0]
    def bare():
        l = make()
        opt = torch.optim.AdamW(l.model.parameters(), lr=3e-3, weight_decay=0., foreach=False)
        def loop():
            for x,y in l.dls.train:
                masked_loss(l.model(x), y).backward()
                opt.step(); opt.zero_grad()
        return cpu(loop)[0]
    a,b = [min(f() for _ in range(3)) for f in (fastai, bare)]
    l = make(1)
    blocks = ffns(l.model)
    once = cpu(lambda: [[magnitudes(f) for f in blocks] for _ in range(200)])[0]/200
    read = cpu(lambda: [[m.weight.sum() for f in blocks for m in (f.up, f.down)]
        for _ in range(200)], 3)[0]/200
    return [dict(what='Encoder, training steps: bare PyTorch loop / fastai', ours=a, rival=b,
        ratio=b/a, asked='>= 0.9', limit=b, limit_is='the bare loop'),
            dict(what='MagnitudeRecorder(50): looking, per step / one step', ours=once/50,
            rival=a/steps, ratio=once/50/(a/steps), asked='< 0.01', limit=read/50,
            limit_is='reading the blocks once')]

def recycling(steps=600):
    """What `Recycle` costs, all its events counted, against the rest of the same training; and one
    round in a large block against reading its matrices and writing what the round changes"""
    from fastai.basics import DataLoaders, Learner
    import forgetprune.recycle as R
    from forgetprune.blocks import ffns
    from forgetprune.text import get_text_dls, lm_learner
    class Timed(R.Recycle):
        spent = 0.
        def __call__(self, event):
            t = time.process_time()
            super().__call__(event)
            self.spent += time.process_time()-t
        def _round(self):
            t = time.process_time()
            super()._round()
            self.once = time.process_time()-t
    rows = []
    for name,most,kw in (('Recycle(100, 0.05)', '<= 0.01', {}), ('Recycle(100, 0.05, smooth=50)',
            '<= 0.06', dict(smooth=50)), ('Recycle(100, 0.05, smooth=100)', '<= 0.06',
            dict(smooth=100)), ("Recycle(100, 0.05, 'utility')", '', dict(select='utility'))):
        best = []
        for _ in range(3):
            l,cb = lm_learner(get_text_dls(bs=32, steps=steps, device='cpu')),Timed(100, 0.05, **kw)
            def watch(self, *args, look=R.Activity.__call__): # the hook of 'rarest' and 'utility'
                t = time.process_time()
                look(self, *args)
                cb.spent += time.process_time()-t
            with l.no_bar(), l.no_logging(), mock.patch.object(R.Activity, '__call__', watch):
                both = cpu(lambda: l.fit(1, 3e-3, cbs=[cb]))[0]-cpu(lambda: l.validate())[0]
            best.append((cb.spent, both-cb.spent))
        ours,rest = min(best)
        blocks = [p.data for f in ffns(l.model) for p in (f.up.weight, f.down.weight)]
        # what is written in a round is a twentieth of it
        read = cpu(lambda: [[p.sum() for p in blocks] for _ in range(200)],
            3)[0]/200*len({e['step'] for e in cb.events})
        rows.append(dict(what=f'{name}, {steps} steps: the callback / the rest of the training',
            ours=ours, rival=rest, ratio=ours/rest, asked=most, limit=read,
            limit_is='reading the blocks once per round'))
    d,d_ff = 4096,16384
    x,net = torch.randn(2, d),FeedForward(d, d_ff)
    l = Learner(DataLoaders([(x, x)], [(x, x)], device='cpu'), net,
        loss_func=torch.nn.functional.mse_loss)
    for which,init in (('low', 'initial'), ('random', 'initial'), ('low', 'current'),
            ('low', 'split')):
        cb = Timed(1, 0.05, which, init)
        with l.no_bar(), l.no_logging(): l.fit(1, 1e-3, cbs=[cb]) # with Adam's memories
        cb.learn = l
        ours = min([cb.once, *(cpu(cb._round)[0] for _ in range(3))])
        i = cb.events[-1]['neurons']
        first = {p: l.opt.state[p]['grad_avg'] for p in (net.up.weight, net.down.weight)}
        def chosen():
            for p,dim in ((net.up.weight, 0), (net.down.weight, 1)):
                for t in (p.data, first[p]): t.index_copy_(dim, i, t.index_select(dim, i))
        def every():
            for p in (net.up.weight.data, net.down.weight.data): p.sum()
        part,whole = cpu(chosen, 3)[0],cpu(every, 3)[0]
        name = f'one round ({which}, {init}), 5 % of a {d} x {d_ff} block'
        rows += [
            dict(
                what=f'{name} / reading the block once, and its rows and columns read and written',
                ours=ours,
                rival=part + whole,
                ratio=ours / (part + whole),
                asked='<= 3',
                limit=part + whole,
                limit_is='the rival: magnitudes need every weight',
            ),
            dict(
                what=f'{name} / its rows and columns read and written',
                ours=ours,
                rival=part,
                ratio=ours / part,
                asked='beside',
                limit=part,
                limit_is='the rival',
            ),
        ]
    return rows

READ = MEMORY+'''
import sys, time, torch
torch.set_num_threads(1)
what,path = sys.argv[1:]
if what=='transformers': import transformers
else: from forgetprune.published import checkpoint_magnitudes
forget_peak()
start,before = time.process_time(),memory('VmRSS')
if what=='ours': checkpoint_magnitudes(path)
elif what=='read':
    with open(path+'/model.safetensors', 'rb', buffering=0) as f:
        b = bytearray(1<<24)
        while f.readinto(b): pass
else: model = transformers.AutoModel.from_pretrained(path)
print(time.process_time()-start, memory('VmHWM')-before)
'''

def checkpoints():
    """Magnitudes of a file of more than 1 GB, against reading its bytes and against loading it with
    transformers (CPU seconds; MiB above what was there before)"""
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel
    with tempfile.TemporaryDirectory() as d:
        config = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
            intermediate_size=4096)
        with torch.device('meta'): model = BertModel(config)
        save_file({n: torch.randn(p.shape)*0.02 for n,p in model.named_parameters()},
            f'{d}/model.safetensors', metadata=dict(format='pt'))
        config.architectures = ['BertModel']; config.save_pretrained(d)
        size = Path(f'{d}/model.safetensors').stat().st_size
        res = {}
        for what in ('read', 'ours', 'transformers'):
            outs = [[float(v) for v in subprocess.run([sys.executable, '-c', READ, what, d],
                capture_output=True, text=True, check=True).stdout.split()[-2:]] for _ in range(3)]
            res[what] = [min(o[i] for o in outs) for i in (0, 1)]
    name = f'magnitudes of a checkpoint of {size/2**30:.1f} GB'
    return [dict(what=f'{name}: loading it with transformers / ours', ours=res['ours'][0],
        rival=res['transformers'][0], ratio=res['transformers'][0]/res['ours'][0], asked='',
        limit=res['read'][0], limit_is='reading the bytes'),
            dict(what=f'{name}: peak memory (MiB), transformers / ours', ours=res['ours'][1],
            rival=res['transformers'][1], ratio=res['transformers'][1]/res['ours'][1], asked='',
            limit=16., limit_is='the largest tensor of a block')]

GPT2 = (
    MEMORY
    + '''
import sys, time, torch, transformers
from transformers import GPT2Config, GPT2LMHeadModel
from forgetprune.rivals import get_scores
from forgetprune.cut import largest
from forgetprune.lm import body_layers, streamed
from forgetprune.reading import lm_loss, text_pieces
what = sys.argv[1]
torch.set_num_threads(1); torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(attn_implementation='sdpa')).eval() # 124 million weights
draw = lambda s: torch.randint(50_000, (1025,), generator=torch.Generator().manual_seed(s))
t,r = [text_pieces(draw(s), 128, bs=4) for s in (0, 1)]
@torch.no_grad()
def forward():
    for dl in (t, r):
        for x,_ in dl: model(x)
forward(); layers = body_layers(model) # warm: tracing imports a good deal
forget_peak()
start,before = time.process_time(),memory('VmRSS')
if what=='forward': forward()
elif what=='means': streamed(model, t, r, layers)
elif what=='streamed': largest(model, streamed(model, t, r, layers), 0.01)
else: largest(model, get_scores(what, model, t, r, layers, loss_func=lm_loss), 0.01)
print(time.process_time()-start, memory('VmHWM')-before)
'''
)

def large_models():
    """Scoring a model of the size of GPT-2 small, against the forward passes that it needs: CPU
    seconds, and MiB above what the model takes"""
    res = {}
    for what in ('forward', 'means', 'streamed', 'maav_difference', 'ssd'):
        run = lambda **env: [float(v) for v in subprocess.run([sys.executable, '-c', GPT2, what],
            capture_output=True, text=True, check=True,
            env={**os.environ, **env}).stdout.split()[-2:]]
        # for memory, glibc gives back what is freed at once, which takes time
        res[what] = min(run()[0], run()[0]),run(MALLOC_MMAP_THRESHOLD_='65536')[1]
    f = res['forward']
    row = lambda what,a,b,i,limit=f,is_='the forward passes': dict(what='GPT-2 small, '+what,
        ours=res[a][i], rival=res[b][i], ratio=res[a][i]/res[b][i], asked='', limit=limit[i],
        limit_is=is_)
    return [
        row('collecting MAAV means / the forward passes', 'means', 'forward', 0),
        row('the same, peak memory (MiB)', 'means', 'forward', 1),
        row(
            'scores streamed, 1 % of each layer chosen / scores kept',
            'streamed',
            'maav_difference',
            0,
        ),
        row('the same, peak memory (MiB)', 'streamed', 'maav_difference', 1),
        row('MAAV streamed / SSD, both with the choice', 'streamed', 'ssd', 0),
        row('the same, peak memory (MiB)', 'streamed', 'ssd', 1),
    ]

def accelerated(device='cuda', reps=5, **config):
    """Scoring and a curve for a model of the size of GPT-2 small in bfloat16, against its forward
    passes: wall-clock seconds after all that was queued is done, and MiB above the model"""
    from transformers import GPT2Config, GPT2LMHeadModel
    from forgetprune.lm import body_layers, perplexity_curve, streamed, weight_cuts
    from forgetprune.reading import text_pieces
    torch.manual_seed(0)
    gpu,config = device!='cpu',GPT2Config(**config)
    model = GPT2LMHeadModel(config).to(device, torch.bfloat16).eval()
    done = torch.cuda.synchronize if gpu else lambda: None
    t,r = [text_pieces(torch.randint(config.vocab_size, (16_400,),
        generator=torch.Generator().manual_seed(s)), min(512, config.n_positions), bs=8,
        device=device) for s in (0, 1)]
    layers,shares = body_layers(model),[0., 0.01, 0.02, 0.05, 0.1]
    @torch.no_grad()
    def forward(*dls):
        for dl in dls:
            for x,_ in dl: model(x)
    def clock(f):
        f(); done() # warm
        before,best = torch.cuda.memory_allocated() if gpu else 0,float('inf')
        if gpu: torch.cuda.reset_peak_memory_stats()
        for _ in range(reps):
            start = time.perf_counter()
            f(); done()
            best = min(best, time.perf_counter()-start)
        return best,(torch.cuda.max_memory_allocated()-before)/2**20 if gpu else float('nan')
    base,means,chosen = clock(lambda: forward(t, r)),clock(lambda: streamed(model, t, r,
        layers)),clock(lambda: largest(model, streamed(model, t, r, layers), 0.01))
    scores = streamed(model, t, r, layers)
    curve = clock(lambda: perplexity_curve(model, weight_cuts(model, scores), shares, t, r))
    row = lambda what,a,b,i,is_: dict(what=f'{torch.cuda.get_device_name() if gpu else device}, '
                                           f'bfloat16, GPT-2 small, {what}', ours=a[i], rival=b[i],
                                           ratio=a[i]/b[i], asked='', limit=b[i], limit_is=is_)
    rows = [row('collecting MAAV means / the forward passes', means, base, 0, 'the forward passes'),
        row('with the choice of 1 % of each layer / the forward passes', chosen, base, 0,
        'the forward passes'),
            row(f'a curve of {len(shares)} levels / as many '
                'forward passes', curve, [len(shares)*v for v in base], 0, 'the forward passes')]
    return rows+([row('collecting, peak memory (MiB) / the '
                      'forward passes', means, base, 1, 'the forward passes')] if gpu else [])

def smaller(learn):
    """A cut network against one under the masks of torch.nn.utils.prune; a network without its cut
    neurons against one with zeros in their place"""
    from forgetprune.neurons import random_neurons, shrink, top_neurons
    from forgetprune.neurons import neuron_cut
    net,x = copy.deepcopy(learn.model),torch.randn(256, 784)
    cut = largest(net, criteria['magnitude'](net), 10_000)
    masked = cut.to_torch_prune(copy.deepcopy(net))
    cut.apply(net)
    with torch.no_grad():
        (a,ya),(b,yb) = [cpu(lambda: [m(x) for _ in range(20)][-1], 5) for m in (net, masked)]
    assert torch.equal(ya, yb)
    size = lambda m: sum(t.numel()*t.element_size() for t in m.state_dict().values())/2**20
    big,tokens = Encoder(500, d_model=256, n_layers=4, n_heads=4, d_ff=2048,
        max_len=64),torch.randint(500, (8, 64))
    chosen = top_neurons(random_neurons(big), 0.5)
    small = shrink(big, chosen)
    neuron_cut(big, chosen).apply(big)
    with torch.no_grad():
        (c,yc),(d,yd) = [cpu(lambda: [m(tokens) for _ in range(5)][-1], 5) for m in (small, big)]
    assert torch.allclose(yc, yd, atol=1e-4)
    need = lambda m: sum(p.numel() for p in m.parameters() if p.ndim==2) # multiply-adds per token
    return [dict(what='a cut network / the same under masks of torch.nn.utils.prune, forward',
        ours=a, rival=b, ratio=a/b, asked='', limit=cpu(lambda: [learn.model(x) for _ in range(20)],
        5)[0], limit_is='the network that was never cut'),
            dict(what='the same, size of its state (MiB)', ours=size(net), rival=size(masked),
            ratio=size(net)/size(masked), asked='', limit=size(learn.model),
            limit_is='the network that was never cut'),
            dict(what='half of the neurons taken out (shrink) / zeros in their place, forward',
            ours=c, rival=d, ratio=c/d, asked='', limit=d*need(small)/need(big),
            limit_is='the share of weights that are left')]

def all_curves(learn, dls, rate, full):
    rows = []
    for most in (7_000, 40_000):
        part,need = curves(learn, dls, rate, full, most),floor(learn, dls, rate, most)
        for i,l in enumerate([*need.values(), sum(need.values())]):
            for r in part[2*i:2*i+2]: r |= dict(limit=l, limit_is='multiply-adds for changed '
                'units only, at the rate of a large matrix product')
        rows += part
    return rows

def main():
    parts = dict(scoring=lambda: scoring(learn, dls, rate),
        ordinary_loaders=lambda: ordinary_loaders(rate), auditing=lambda: auditing(dls, rate),
        recording=recording, recycling=recycling, checkpoints=checkpoints,
        large_models=large_models,
        **(dict(accelerated=accelerated) if torch.cuda.is_available() else {}),
        smaller=lambda: smaller(learn), one_curve=lambda: one_curve(learn, dls, rate),
        curves=lambda: all_curves(learn, dls, rate, a.full))
    p = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--full', action='store_true')
    p.add_argument('--out', default='bench/out/bench.json', type=Path)
    p.add_argument('--only', nargs='+', choices=[*parts], default=[*parts],
        help='measure these parts; the others are kept as `--out` has them')
    a = p.parse_args()
    # NumPy's libraries too, which scikit-learn's probes use
    torch.set_num_threads(1); threadpool_limits(1)
    rate = matmul_rate()
    where = dict(machine=processor(), cores=os.cpu_count(), threads=torch.get_num_threads(),
        torch=torch.__version__, python=platform.python_version(), gpu=torch.cuda.get_device_name()
        if torch.cuda.is_available() else None)
    kept = []
    if set(a.only) < set(parts) and a.out.exists():
        before = json.loads(a.out.read_text())
        if other := [k for k,v in where.items() if before['where'].get(k)!=v]:
            p.error(
                f'--only: {a.out} was measured elsewhere, with other {", ".join(other)}; choose '
                'another --out, or measure all'
            )
        kept = [r for r in before['rows'] if r['part'] not in a.only]
    if {'scoring', 'smaller', 'one_curve', 'curves'} & set(a.only):
        dls = get_dls('mnist', seed=0)
        learn = get_learner(dls, seed=0)
        with learn.no_bar(), learn.no_logging(): train(learn)
    elif 'auditing' in a.only: dls = get_dls('mnist', seed=0)
    where['gmacs_per_cpu_second'] = round(rate/1e9, 1)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    print(f"{'what':<96}{'ours':>9}{'rival':>9}{'ratio':>9}  {'asked':<8}{'limit':>9}")
    rows = kept
    for n in [n for n in parts if n in a.only]:
        new = [dict(part=n)|r for r in parts[n]()]
        for r in new:
            print(
                f"{r['what']:<96}{r['ours']:>9.3g}{r['rival']:>9.4g}{r['ratio']:>9.3g}  "
                f"{r['asked']:<8}{'' if r['limit'] is None else format(r['limit'], '.3g'):>9}",
                flush=True)
        rows = sorted(rows+new, key=lambda r: [*parts].index(r['part']))
        with whole_file(a.out) as tmp: # a part that is done is kept, whatever comes
            tmp.write_text(json.dumps(dict(where=where, full=a.full, rows=rows), indent=1))
    print('CPU seconds on one thread, but for memory (MiB) and what names a graphics card (seconds '
          'by the clock).', where)

if __name__ == '__main__': main()
