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
    def __init__(self, at): self.at = at
    def after_batch(self):
        if self.training and self.learn.train_iter==self.at: raise KeyboardInterrupt

def run(folder, die=None, resume=None, steps=40, epochs=1, opt_func=None, extra=list,
        train=warm_fit, **kw):
    set_seed(1 if resume else 0) # a process that goes on is in another state
    l = lm_learner(get_text_dls(words, bs=4, context=16, steps=steps, n_valid=50, device='cpu'),
        d_model=16, n_layers=2, n_heads=2, d_ff=24)
    if opt_func: l.opt_func = opt_func
    cb = Recycle(**{**dict(every=7, frac=0.25, immunity=1, smooth=10), **kw})
    with l.no_bar(), l.no_logging():
        try: train(l, epochs, cbs=[cb, *extra(), Checkpoints(folder, 5, dict(kw=str(kw)), resume),
            *([Die(die)] if die else [])])
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
                *([Die(die)] if die else [])])
            except KeyboardInterrupt: pass
        return l,cb
    for n in 'ab': (tmp_path/n).mkdir()
    class Die(Callback):
        order = 130
        def __init__(self, at): self.at,self.n = at,0
        def after_batch(self):
            self.n += self.training
            if self.n==self.at: raise KeyboardInterrupt
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
