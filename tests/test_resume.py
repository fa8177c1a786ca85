"Checkpoints: whole or none, and a resumed run is the uninterrupted one, to the bit"
import json, os, random, signal, subprocess, sys, time
import pytest, torch
from fastai.basics import Adam, Callback, SGD, set_seed
from conftest import same_state
from forgetprune.draws import *
from forgetprune.recycle import *
from forgetprune.resume import *
from forgetprune.text import *

words = 'the quick brown fox\njumps over the lazy dog\n'*40
class Die(Callback):
    order = 130
    def __init__(self, at): self.when = at
    def state_dict(self): return {} # it remembers nothing
    def load_state_dict(self, state): pass
    def after_batch(self):
        if self.training and self.learn.train_iter==self.when: raise KeyboardInterrupt

def run(folder, die=None, resume=None, steps=40, epochs=1, opt_func=None, extra=list,
        train=warm_fit, **kw):
    set_seed(1 if resume else 0) # a process that goes on is in another state
    l = lm_learner(get_text_dls(words, bs=4, context=16, steps=steps, n_valid=50, device='cpu'),
        d_model=16, n_layers=2, n_heads=2, d_ff=24)
    if opt_func: l.opt_func = opt_func
    cb = Recycle(**{**dict(every=7, frac=0.25, immunity=1, smooth=10), **kw})
    with l.no_bar(), l.no_logging():
        try: train(l, epochs, cbs=[cb, *extra(), Checkpoints(folder, 5, dict(kw=str(kw)), resume),
            Die(die)])
        except KeyboardInterrupt: pass
    return l,cb

def flat(x, at=''):
    if isinstance(x, dict): return [p for k,v in x.items() for p in flat(v, f'{at}.{k}')]
    if isinstance(x, (list, tuple)):
        return [p for k,v in enumerate(x) for p in flat(v, f'{at}.{k}')]
    return [(at, x)]
def same(a, b):
    a,b = flat(a),flat(b)
    assert [n for n,_ in a]==[n for n,_ in b]
    for (n,x),(_,y) in zip(a, b):
        assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x==y, n

@pytest.mark.parametrize('kw', [dict(select='low'), dict(select='utility', draw='current'),
    dict(select='random', draw='split', smooth=0), dict(select='rarest', draw='copy', state='both',
    end=20)])
@pytest.mark.parametrize('die', [6, 23])
def test_equal_to_the_bit(kw, die, tmp_path):
    for n in 'ab': (tmp_path/n).mkdir()
    whole,_ = run(tmp_path/'a', **kw)
    run(tmp_path/'b', die, **kw)
    late,_ = run(tmp_path/'b', resume=last_checkpoint(tmp_path/'b'), **kw)
    assert same_state(whole.model.state_dict(), late.model.state_dict())
    # optimiser, counts, immunity, interpolation, random state, all of it
    same(last_checkpoint(tmp_path/'a'), last_checkpoint(tmp_path/'b'))

@pytest.mark.parametrize('opt', [Adam, SGD])
def test_over_epochs_and_with_fastai_optimisers(opt, tmp_path):
    for n in 'ab': (tmp_path/n).mkdir()
    whole,a = run(tmp_path/'a', steps=17, epochs=3, opt_func=opt)
    run(tmp_path/'b', die=28, steps=17, epochs=3, opt_func=opt)
    late,b = run(tmp_path/'b', resume=last_checkpoint(tmp_path/'b'), steps=17, epochs=3,
        opt_func=opt)
    assert a.count==b.count==51 and same_state(whole.model.state_dict(), late.model.state_dict())
    same(last_checkpoint(tmp_path/'a'), last_checkpoint(tmp_path/'b'))

class Places(Callback):
    "Notes what the learner says of where it is"
    looks_on,order = True,-50
    def __init__(self): self.seen = []
    def before_batch(self): self.seen.append((self.training, self.epoch, self.learn.iter))
    def state_dict(self): return dict(seen=[list(s) for s in self.seen])
    def load_state_dict(self, state): self.seen = [tuple(s) for s in state['seen']]

def test_batches_are_counted_on(tmp_path):
    "`learn.iter` is the number of the batch in its epoch, after an interruption too"
    def counted(folder, **kw):
        c = Places()
        l,_ = run(tmp_path/folder, steps=17, epochs=3, extra=lambda: [c], **kw)
        return l, c.seen
    for n in 'ab': (tmp_path/n).mkdir()
    _,whole = counted('a')
    counted('b', die=28)
    l,_ = counted('b', resume=last_checkpoint(tmp_path/'b'), die=32) # in the same epoch
    with l.no_bar(), l.no_logging(): l.fit(1, cbs=(c := Places())) # without checkpoints
    assert [i for t,_,i in c.seen if t]==list(range(17))
    l,seen = counted('b', resume=last_checkpoint(tmp_path/'b'))
    assert [s for s in seen if s[0]]==[s for s in whole if s[0]] and 'one_batch' not in vars(l)

def test_one_cycle_and_gradual_pruning(tmp_path):
    from forgetprune.pruning import GradualPruning
    kw = dict(train=lambda l, n, cbs: l.fit_one_cycle(n, 1e-3, cbs=cbs),
        extra=lambda: [GradualPruning(0.5, start=2, end=30, every=5)])
    for n in 'ab': (tmp_path/n).mkdir()
    whole,_ = run(tmp_path/'a', **kw)
    run(tmp_path/'b', 23, **kw)
    late,_ = run(tmp_path/'b', resume=last_checkpoint(tmp_path/'b'), **kw)
    assert same_state(whole.model.state_dict(), late.model.state_dict())
    same(last_checkpoint(tmp_path/'a'), last_checkpoint(tmp_path/'b'))
    with pytest.raises(ValueError, match='gradual_pruning'):
        run(tmp_path/'b', resume=last_checkpoint(tmp_path/'b'))

@pytest.mark.parametrize('die', [9, 33])
def test_images_and_neurons_that_were_put_back_to_work(die, tmp_path, digits):
    "A perceptron on shuffled images over epochs, some of its neurons pruned and recycled"
    from fastai.basics import Learner
    from torch import nn
    from forgetprune.cut import KeepCut
    from forgetprune.data import get_dls
    from forgetprune.neurons import neuron_cut
    from forgetprune.networks import mlp
    def go(folder, die=None, resume=None):
        set_seed(1 if resume else 0)
        torch.manual_seed(0)
        l = Learner(get_dls('digits', bs=64, device='cpu'), mlp((64, 16, 16, 10)),
            loss_func=nn.CrossEntropyLoss(), opt_func=Adam)
        cut = neuron_cut(l.model, {'1': torch.arange(8)})
        cb = Recycle(6, 0.25, pruned=True, immunity=2, blocks=['1'])
        with l.no_bar(), l.no_logging():
            try: l.fit(3, 1e-2, cbs=[cb, KeepCut(cut), Checkpoints(folder, 5, resume=resume),
                Die(die)])
            except KeyboardInterrupt: pass
        return l,cb
    for n in 'ab': (tmp_path/n).mkdir()
    class Die(Callback):
        order = 130
        def __init__(self, at): self.when,self.n = at,0
        def state_dict(self): return {}
        def load_state_dict(self, state): pass
        def after_batch(self):
            self.n += self.training
            if self.n==self.when: raise KeyboardInterrupt
    whole,a = go(tmp_path/'a')
    go(tmp_path/'b', die)
    late,b = go(tmp_path/'b', resume=last_checkpoint(tmp_path/'b'))
    assert a.count==b.count==3*len(whole.dls.train)
    assert same_state(whole.model.state_dict(), late.model.state_dict())
    same(last_checkpoint(tmp_path/'a'), last_checkpoint(tmp_path/'b'))

def test_a_folder_belongs_to_one_training(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match='holds checkpoints of another training'): run(tmp_path)
    ck = Checkpoints(tmp_path/'x', 5); (tmp_path/'x').mkdir()
    l,_ = run(tmp_path/'x', extra=list) if False else (lm_learner(get_text_dls(words, bs=4,
        context=16, steps=6, n_valid=50, device='cpu'), d_model=16, n_layers=1, n_heads=2, d_ff=24),
        None)
    with l.no_bar(), l.no_logging():
        l.fit(1, cbs=[ck])
        with pytest.raises(ValueError, match='a folder of its own'): l.fit(1, cbs=[ck])

def test_what_cannot_be_resumed_is_refused(tmp_path):
    from fastai.basics import DataLoader
    from fastai.callback.training import GradientAccumulation
    with pytest.raises(ValueError, match='gradient_accumulation'):
        run(tmp_path, extra=lambda: [GradientAccumulation(8)])
    l = lm_learner(get_text_dls(words, bs=4, context=16, steps=6, n_valid=50, device='cpu'),
        d_model=16, n_layers=1, n_heads=2, d_ff=24)
    l.dls.loaders[0] = DataLoader(list(range(4)))
    with l.no_bar(), l.no_logging(), pytest.raises(ValueError, match='cannot leave out'):
        l.fit(1, cbs=[Checkpoints(tmp_path)])

def test_files_of_others_are_left_alone(tmp_path):
    for n in ('checkpoint-0.pt', 'checkpoint-best.pt'): (tmp_path/n).write_text('mine')
    (tmp_path/'checkpoint-00000099.pt').mkdir()
    run(tmp_path)
    assert [f.name for f in checkpoints(tmp_path)]==['checkpoint-00000035.pt',
        'checkpoint-00000040.pt'] and (tmp_path/'checkpoint-0.pt').read_text()==(
        tmp_path/'checkpoint-best.pt').read_text()=='mine'
    save_checkpoint(tmp_path/'checkpoint-00000050.pt', [1, 2])
    assert last_checkpoint(tmp_path)['steps']==40

def test_another_network_is_refused(tmp_path):
    run(tmp_path)
    l = lm_learner(get_text_dls(words, bs=4, context=16, steps=5, n_valid=50, device='cpu'),
        d_model=16, n_layers=1, n_heads=2, d_ff=24)
    s,cb = last_checkpoint(tmp_path),Recycle(7, 0.25)
    with l.no_bar(), l.no_logging(), pytest.raises(ValueError,
            match='of another network.*blocks.1.ff'):
        l.fit(1, cbs=[cb, Checkpoints(tmp_path, resume=s)])

def test_torn_files(tmp_path):
    run(tmp_path)
    a,b = checkpoints(tmp_path)
    for cut in (0, 30, 64, 1000):
        data = b.read_bytes()
        b.write_bytes(data[:cut])
        assert last_checkpoint(tmp_path)['steps']==35
        b.write_bytes(data)
    data = bytearray(b.read_bytes()); data[-100] ^= 1
    b.write_bytes(data); a.write_bytes(b'')
    with pytest.raises(ValueError, match='torn.*torn'): last_checkpoint(tmp_path)
    with pytest.raises(ValueError, match='no checkpoint'): last_checkpoint(tmp_path/'nowhere')

def test_nothing_is_executed(tmp_path):
    class Bad:
        def __reduce__(self): return (open, (str(tmp_path/'ran'), 'w'))
    import hashlib, io
    b = io.BytesIO(); torch.save(dict(config={}, x=Bad()), b)
    (tmp_path/'checkpoint-00000001.pt').write_bytes(
        hashlib.sha256(b.getvalue()).hexdigest().encode()+b'\n'+b.getvalue())
    with pytest.raises(ValueError, match='nothing else is opened'): last_checkpoint(tmp_path)
    assert not (tmp_path/'ran').exists()

def test_a_search_for_a_rate_leaves_no_checkpoint(tmp_path):
    l = lm_learner(get_text_dls(words, bs=4, context=16, steps=20, n_valid=50, device='cpu'),
        d_model=16, n_layers=1, n_heads=2, d_ff=24, )
    l.add_cb(Checkpoints(tmp_path, 2))
    with l.no_bar(), l.no_logging(): l.lr_find(num_it=10, show_plot=False)
    assert not checkpoints(tmp_path)

# ---- other callbacks, and what the training was set up with

def losses_of(l): return torch.stack(l.recorder.losses), list(map(list, l.recorder.values))

def fit(folder, cbs=list, die=None, resume=None, epochs=4, lr=1e-2, bs=4, steps=6, opt=Adam,
        text=words, wd=None, loss=None, train=None, d_ff=24):
    "A learner and its callbacks after a training that dies after `die` steps"
    set_seed(1 if resume else 0)
    l = lm_learner(get_text_dls(text, bs=bs, context=16, steps=steps, n_valid=50, device='cpu'),
        d_model=16, n_layers=2, n_heads=2, d_ff=d_ff)
    l.opt_func,l.path,cbs = opt,folder,cbs()
    if loss: l.loss_func = loss
    cbs = [*cbs, Die(die), Checkpoints(folder, 4, resume=resume)]
    with l.no_bar(), l.no_logging():
        try: (train or l.fit)(*([l] if train else []), epochs, lr, wd=wd, cbs=cbs)
        except KeyboardInterrupt: pass
    return l,cbs

def both(tmp_path, cbs, die=15, **kw):
    "Learner and callbacks of a training that went through, and of one that died and was resumed"
    for n in 'ab': (tmp_path/n).mkdir()
    whole,a = fit(tmp_path/'a', cbs, **kw)
    fit(tmp_path/'b', cbs, die, **kw)
    s = last_checkpoint(tmp_path/'b')
    assert s['steps'] < whole.train_iter # it did die
    late,b = fit(tmp_path/'b', cbs, resume=s, **kw)
    assert same_state(whole.model.state_dict(), late.model.state_dict())
    same(last_checkpoint(tmp_path/'a'), last_checkpoint(tmp_path/'b'))
    assert whole.recorder.iters==late.recorder.iters
    same(losses_of(whole), losses_of(late))
    return a,b

def others():
    from fastai.callback.tracker import (EarlyStoppingCallback, ReduceLROnPlateau,
        SaveModelCallback, TerminateOnNaNCallback)
    from fastai.callback.training import GradientClip
    from forgetprune.decay import MidpointLoss
    from forgetprune.magnitudes import MagnitudeRecorder
    from forgetprune.retrain import RetrainSubset
    # epochs hardly better than the best one so far, so that patience runs out
    late = dict(min_delta=0.5, patience=2)
    return dict(retrain=lambda: [RetrainSubset('low', 0.25, warm=20)],
        anywhere=lambda: [RetrainSubset('random', 0.25, warm=3), GradientClip(0.1)],
        recorder=lambda: [MagnitudeRecorder(5), MidpointLoss(0.1), TerminateOnNaNCallback()],
        plateau=lambda: [ReduceLROnPlateau(**late), GradientClip(0.1), GradientClip(0.05)],
        early=lambda: [EarlyStoppingCallback(**late)],
        saved=lambda: [SaveModelCallback(), EarlyStoppingCallback(patience=2, min_delta=0.1)],
        train_loss=lambda: [ReduceLROnPlateau(monitor='train_loss', **late)])

@pytest.mark.parametrize('die', [5, 23])
@pytest.mark.parametrize('which', ['retrain', 'anywhere', 'recorder', 'plateau', 'early', 'saved',
    'train_loss'])
def test_with_other_callbacks(which, die, tmp_path):
    if which in ('early', 'saved') and die > 17: die = 17
    a,b = both(tmp_path, others()[which], die)
    for x,y in zip(a[:-2], b[:-2]):
        plain = lambda cb: {n: v for n,v in vars(cb).items()
            if isinstance(v, (int, float, str, bool, list)) and n!='ffns'}
        same(plain(x), plain(y))
    if which=='recorder': assert a[0].steps==[0, 5, 10, 15, 20, 24] and all(torch.equal(*v)
        for n in a[0].kept for v in zip(a[0].kept[n], b[0].kept[n]))

def fails(folder, message, *args, **kw):
    with pytest.raises(ValueError, match=message): fit(folder, *args, **kw)

def one_cycle(l, n, lr, wd=None, cbs=None): l.fit_one_cycle(n, lr, wd=wd, cbs=cbs)

def test_a_training_that_was_set_up_otherwise_is_noticed(tmp_path):
    from fastai.callback.training import GradientClip
    from forgetprune.retrain import RetrainSubset
    clip = lambda most: lambda: [GradientClip(most), RetrainSubset('low', 0.5)]
    def masked(pred, y): return masked_loss(pred, y)
    fit(tmp_path, clip(0.1), die=9)
    s = last_checkpoint(tmp_path)
    go = lambda message, cbs=clip(0.1), **kw: fails(tmp_path, message, cbs, resume=s, **kw)
    go('holds a run with lr=0.01, not lr=0.02; ask', lr=2e-2)
    go('wd=0.01, not wd=0.1', wd=0.1)
    go('bs=4, not bs=5', bs=5)
    go('batches=6, not batches=7', steps=7)
    go('epochs=4, not epochs=5', epochs=5)
    go('optimiser=.*adam_step.*not optimiser=.*sgd_step', opt=SGD)
    go('mom=0.9, not mom=0.5', opt=lambda p, lr: Adam(p, lr, mom=0.5))
    go('data=', text=words.replace('lazy dog', 'dog lazy'))
    go('loss=.*masked_loss', loss=masked)
    go('gradient_clip.max_norm=0.1, not gradient_clip.max_norm=0.2', clip(0.2))
    go('retrain_subset.frac=0.5, not retrain_subset.frac=0.25',
        lambda: [GradientClip(0.1), RetrainSubset('low', 0.25)])
    go('with the callbacks .*gradient_clip', lambda: [RetrainSubset('low', 0.5)])
    go('of another network', d_ff=32)
    go('callbacks .*param_scheduler', train=one_cycle)
    assert last_checkpoint(tmp_path)['steps']==s['steps'] # nothing was trained
    fit(tmp_path, clip(0.1), resume=s)
    assert last_checkpoint(tmp_path)['steps']==24

def test_another_schedule_or_cut_is_noticed(tmp_path):
    from forgetprune.cut import Cut, KeepCut
    def held(n):
        return lambda: [KeepCut(Cut({'blocks.0.ff.up': torch.arange(n)}, {'blocks.0.ff.up':
            torch.zeros(n)}, {'blocks.0.ff.up': (24, 16)}))]
    fit(tmp_path, held(5), die=9, train=one_cycle)
    s = last_checkpoint(tmp_path)
    fails(tmp_path, 'param_scheduler.lr=', held(5), resume=s, train=one_cycle, lr=2e-2)
    fails(tmp_path, 'keep_cut.cut=', held(6), resume=s, train=one_cycle)
    fit(tmp_path, held(5), resume=s, train=one_cycle)

def test_who_cannot_say_what_it_remembers_is_refused(tmp_path):
    from fastai.callback.tracker import SaveModelCallback
    from fastai.callback.training import ShortEpochCallback
    class Counts(Callback):
        n = 0
        def after_batch(self): self.n += 1
    class Late(Counts):
        order = 2000
        def state_dict(self): return {}
        def load_state_dict(self, state): pass
    for cb,message in ((Counts(), 'counts does not say'), (Late(), 'order=2000'),
            (ShortEpochCallback(), 'short_epoch does not say'),
            (SaveModelCallback(with_opt=True), 'with_opt=True')):
        fails(tmp_path, message, lambda: [cb])
        assert not checkpoints(tmp_path)

def test_the_best_network_comes_along(tmp_path):
    "Its file is in the folder of the learner, which another machine does not have"
    from fastai.callback.tracker import SaveModelCallback
    kw = dict(lr=0.3, opt=SGD) # worse and worse after the first epochs
    (tmp_path/'a').mkdir()
    whole,a = fit(tmp_path/'a', lambda: [SaveModelCallback()], **kw)
    (tmp_path/'b').mkdir()
    fit(tmp_path/'b', lambda: [SaveModelCallback()], die=20, **kw)
    (tmp_path/'b'/'models'/'model.pth').unlink()
    late,b = fit(tmp_path/'b', lambda: [SaveModelCallback()], resume=last_checkpoint(tmp_path/'b'),
        **kw)
    assert same_state(whole.model.state_dict(), late.model.state_dict())
    assert a[0].best==b[0].best

# ---- the command, killed

small = ('--steps 400 --bs 4 --d-model 16 --heads 2 --layers 2 --d-ff 24 --every 20 --frac 0.25 '
    '--immunity 1 --smooth 30 --select utility --save-every 15').split()
def args(out, *more): return ['recycle', '--out', str(out), *small, *more]
def command(out, *more):
    return [sys.executable, '-c', 'from forgetprune.cli import main; main()', *args(out, *more)]

@pytest.mark.slow
def test_killed_at_any_step(tmp_path, capsys):
    from forgetprune.cli import main
    words_file = tmp_path/'text.txt'; words_file.write_text(words)
    text,env = ['--data', str(words_file)],{**os.environ, 'OMP_NUM_THREADS': '1'}
    whole = subprocess.Popen(command(tmp_path/'whole', *text), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=env)
    rng,kills = random.Random(0),0
    for _ in range(3): # each time a little further, then SIGKILL
        seen = len(checkpoints(tmp_path/'torn')) and checkpoints(tmp_path/'torn')[-1].name
        p = subprocess.Popen(command(tmp_path/'torn', *text, '--resume'), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=env)
        while p.poll() is None and (not checkpoints(tmp_path/'torn')
                or checkpoints(tmp_path/'torn')[-1].name==seen):
            time.sleep(0.01)
        time.sleep(rng.random()*0.2)
        if p.poll() is None: p.send_signal(signal.SIGKILL); kills += 1
        p.wait()
    assert kills >= 2 and not (tmp_path/'torn'/'result.json').exists()
    newest = checkpoints(tmp_path/'torn')[-1]
    newest.write_bytes(newest.read_bytes()[:-1]) # and the disk tore the last one
    r = subprocess.run(command(tmp_path/'torn', *text, '--resume'), capture_output=True, text=True,
        env=env)
    assert r.returncode==0, r.stderr
    said = whole.communicate()[1]
    assert whole.returncode==0, said
    same(last_checkpoint(tmp_path/'whole'), last_checkpoint(tmp_path/'torn'))
    a,b = [json.loads((tmp_path/n/'result.json').read_text()) for n in ('whole', 'torn')]
    assert a==b and (tmp_path/'whole'/'model.safetensors').read_bytes()==(
        tmp_path/'torn'/'model.safetensors').read_bytes()
    assert not list((tmp_path/'torn').glob('.*'))
    def refused(*more):
        capsys.readouterr()
        with pytest.raises(SystemExit) as e: main(args(tmp_path/'torn', *text, '--resume', *more))
        err = capsys.readouterr().err
        assert e.value.code==2 and err.count('\n')==1
        return err
    assert 'd_ff=24, not d_ff=48' in refused('--d-ff', '48')
    words_file.write_text(words+'!')
    assert 'digest' in refused()

@pytest.mark.parametrize('args,said', [(['--select', 'small'], '--select small'),
    (['--steps', '0'], '--steps 0'), (['--heads', '5'], '--heads 5: it must divide'),
    (['--data', 'nowhere'], '--data nowhere: there is no such file; give pydoc'),
    (['--end', '3', '--start', '5'], '--end 3'),
    (['--frac', '0.001'], 'is not one neuron'), (['--frac', '0.6', '--draw', 'copy'],
    '0.5 is the most'), (['--seed', '99999999999999999999'], '--seed'),
    (['--lr', 'inf'], '--lr inf'), (['--d-ff', '99999999999999'], '--d-ff'),
    (['--every', '5000'], '--every 5000'), (['--data', 'mnist'], 'images'),
    (['--immunity', '-1'], '--immunity -1 must be a whole number'),
    (['--smooth=-2'], '--smooth -2 must')])
def test_what_is_wrong_is_said_before_any_work(args, said, tmp_path, capsys):
    from forgetprune.cli import main
    with pytest.raises(SystemExit) as e: main(['recycle', '--out', str(tmp_path/'o'), *args])
    err = capsys.readouterr().err
    assert e.value.code==2 and said in err and err.count('\n')==1 and not (tmp_path/'o').exists()

def test_to_resume_a_folder_is_needed(capsys):
    from forgetprune.cli import main
    with pytest.raises(SystemExit) as e: main(['recycle', '--resume'])
    assert e.value.code==2 and '--out' in capsys.readouterr().err

def test_without_a_folder_a_table(capsys):
    from forgetprune.cli import main
    with pytest.raises(SystemExit) as e: main(['recycle', *small[:-2]])
    said = capsys.readouterr().out
    assert not e.value.code and 'blocks.1.ff' in said and 'Written' not in said

def test_what_diverges_says_so(tmp_path, capsys):
    from forgetprune.cli import main
    for select in ('low', 'random'):
        with pytest.raises(SystemExit) as e:
            main(['recycle', *small[:-2], '--lr', '1e6', '--select', select, '--json'])
        said = capsys.readouterr()
        assert e.value.code == 2 and 'diverged' in said.err and 'Exception occured' not in said.err
        assert said.out == ''

def test_what_pytorch_would_advise_is_not_repeated(tmp_path):
    "A checkpoint with an object in it, and a right checksum: nobody is told how to run it"
    import fractions
    save_checkpoint(tmp_path/'c.pt', dict(x=fractions.Fraction(1, 2)))
    with pytest.raises(ValueError, match='nothing else is opened') as e:
        load_checkpoint(tmp_path/'c.pt')
    assert 'can still be loaded' not in str(e.value) and '\x1b' not in str(e.value)
