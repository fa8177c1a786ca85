import io, json, os, signal, subprocess, sys, time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
import pandas as pd, pytest, torch
from safetensors.torch import save_file
from forgetprune.cli import main
from forgetprune.cut import Cut
from forgetprune.networks import load_model, mlp, save_model

cmd = [sys.executable, '-c', 'from forgetprune.cli import main; main()']
def started(*args):
    "The command in a process of its own"
    return subprocess.run([*cmd, *map(str, args)], capture_output=True, text=True)

def code(args):
    with pytest.raises(SystemExit) as e: main(args)
    return e.value.code or 0

@dataclass
class Ran:
    returncode:int
    stdout:str
    stderr:str

def run(*args):
    "The command in this process, which has PyTorch at hand"
    out,err = io.StringIO(),io.StringIO()
    with redirect_stdout(out), redirect_stderr(err): c = code(list(map(str, args)))
    return Ran(c, out.getvalue(), err.getvalue())

@pytest.fixture(scope='session')
def done(made_once):
    "A run and what it said, beside the networks; once for all processes, since audits train golds"
    def make(d):
        r = started('forget', '--target', 7, '--data', 'digits', '--path', d, '--out', d/'out')
        d.mkdir(exist_ok=True)
        (d/'said.json').write_text(json.dumps([r.returncode, r.stdout, r.stderr]))
    d = made_once('cli', make)
    r = Ran(*json.loads((d/'said.json').read_text()))
    assert r.returncode==0, r.stderr
    return d,r

def test_files(done):
    d,r = done
    out = d/'out'
    assert sorted(p.name for p in out.iterdir())==['answers.png', 'curve.csv', 'curve.png',
        'cut.safetensors', 'model.safetensors', 'report.html', 'result.json']
    res = json.loads((out/'result.json').read_text())
    assert res['target']==7 and res['reached']
    assert res['accuracy']['validation']['cut']['target'] <= 0.1
    cut,(model,about) = Cut.load(out/'cut.safetensors'),load_model(out/'model.safetensors')
    assert len(cut)==res['cut_weights'] and about['target']==7
    for n,i in cut.indices.items(): assert (model.get_submodule(n).weight.take(i)==0).all()
    assert list(pd.read_csv(out/'curve.csv').columns)==['k', 'target', 'retain']
    for p in out.glob('*.png'): assert p.read_bytes()[:4]==b'\x89PNG'
    page = (out/'report.html').read_text()
    assert 'src="data:image/png' in page and 'http' not in page and 'switched off' in page

def test_table_is_short_and_clean(done):
    _,r = done
    assert len(r.stdout.splitlines()) < 16 and 'as trained' in r.stdout and '\x1b' not in r.stdout
    assert 'Warning' not in r.stderr

def test_tables_are_as_wide_as_the_terminal(monkeypatch):
    from forgetprune.commands import as_text
    wide = pd.DataFrame({f'a long name {i}': [float(i), float('nan')] for i in range(20)})
    assert len(as_text(wide).splitlines()[0]) > 200 and 'nan' not in as_text(wide).lower()
    monkeypatch.setenv('COLUMNS', '80')
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    assert max(map(len, as_text(wide).splitlines())) <= 80

def test_shells_complete_without_waiting_for_pytorch(tmp_path):
    code = "import sys; from forgetprune.cli import main\ntry: main()\n" \
        "finally: assert not {'torch', 'pandas', 'fastai'} & set(sys.modules)"
    def asked(*args, **env):
        r = subprocess.run([sys.executable, '-c', code, *args], capture_output=True, text=True,
            env=os.environ | dict(HOME=str(tmp_path), **env))
        assert r.returncode==0, r.stderr
        return r.stdout
    after = dict(_FORGETPRUNE_COMPLETE='complete_bash', COMP_CWORD='2')
    assert asked(**after, COMP_WORDS='forgetprune forget --cri').split()==['--criterion']
    assert asked(**after, COMP_WORDS='forgetprune audit --out').split()==['--out']
    shell = dict(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION='1') # there may be none
    script = asked('--show-completion', 'bash', **shell)
    assert 'complete -o default -F _forgetprune_completion forgetprune' in script
    assert 'installed in' in asked('--install-completion', 'bash', **shell)
    assert (tmp_path/'.bash_completions'/'forgetprune.sh').read_text().strip()==script.strip()

def test_network_is_kept_and_reused(done):
    d,_ = done
    kept = list((d/'models').glob('digits-mlp-sgd-0-*')) # golds have other seeds
    assert len(kept)==1
    stamp = kept[0].stat().st_mtime_ns
    r = run('forget', '--target', 3, '--data', 'digits', '--path', d, '--json')
    assert r.returncode==0 and 'trained before' in r.stderr and kept[0].stat().st_mtime_ns==stamp
    assert list((d/'models').glob('digits-mlp-sgd-0-*'))==kept
    assert json.loads(r.stdout)['target']==3

def test_same_seed_same_cut(done):
    d,_ = done
    a,b = [json.loads(run('forget', '--target', 7, '--data', 'digits', '--path', d,
        '--json').stdout) for _ in range(2)]
    assert a==b

def test_own_model(done):
    d,_ = done
    r = run('forget', '--target', 2, '--data', 'digits', '--path', d, '--model',
        d/'out'/'model.safetensors', '--k', 0.01, '--layers', 3, '--json')
    res = json.loads(r.stdout)
    assert r.returncode==0 and res['layers']==['3'] and res['cut_weights']==8000

@pytest.mark.parametrize('args,said', [
    ([], None), (['--help'], None), (['--version'], None),
    (['forget'], '--target'), (['bogus'], 'bogus'),
    (['forget', '--target', 'seven', '--data', 'digits'], '--target seven'),
    (['forget', '--target', '10', '--data', 'digits'], '--target 10'),
    (['forget', '--target', '-1', '--data', 'digits'], '--target -1'),
    (['forget', '--target', '7', '--data', 'minst'], 'there are digits, mnist, fashion'),
    (['forget', '--target', '7', '--criterion', 'x'], '--criterion x'),
    (['forget', '--target', '7', '--recipe', 'x'], '--recipe x'),
    (['forget', '--target', '7', '--k', 'many'], '--k many'),
    (['forget', '--target', '7', '--data', 'digits', '--k', '-5'], '--k -5'),
    (['forget', '--target', '7', '--data', 'digits', '--k', '7.5'], '--k 7.5'),
    (['forget', '--target', '7', '--data', 'digits', '--layers', '4'], 'no such layer'),
    (['forget', '--target', '7', '--data', 'digits', '--goal', '5'], '--goal 5'),
    (['forget', '--target', '7', '--data', 'digits', '--model', 'nowhere'], '--model nowhere'),
    (['forget', '--target', '7', '--data', 'digits', '--out', '/proc/nothing'],
        '--out /proc/nothing'),
    (['data', 'minst'], 'there are mnist, fashion'), (['data', 'digits'], 'digits come with'),
    (['forget', '--target', '7', '--seed', '-1'], '--seed -1')])
def test_exit_codes(args, said, done, tmp_path, monkeypatch, capsys):
    if args[:1]==['forget'] and 'digits' in args: args = [*args, '--path', str(done[0])]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as e: main(args)
    out,err = capsys.readouterr()
    if said is None: assert e.value.code==0 and out and not err
    else: assert e.value.code==2 and out=='' and said in err and err.startswith(
        'forgetprune: ') and err.count('\n')==1
    assert list(tmp_path.iterdir())==[]

def test_model_of_another_shape(done, tmp_path):
    save_model(mlp((784, 9, 8, 10)), tmp_path/'m', arch=dict(name='mlp', sizes=(784, 9, 8, 10)))
    save_model(mlp((64, 9, 8, 4)), tmp_path/'n', arch=dict(name='mlp', sizes=(64, 9, 8, 4)))
    for f,said in (('m', 'does not take images'), ('n', '4 outputs')):
        r = run('forget', '--target', 1, '--data', 'digits', '--path', done[0], '--model',
            tmp_path/f)
        assert r.returncode==2 and said in r.stderr

@pytest.mark.slow
def test_damaged_mnist(tmp_path):
    raw = tmp_path/'MNIST'/'raw'; raw.mkdir(parents=True)
    (raw/'train-labels-idx1-ubyte').write_bytes(b'short')
    for args in (['data', 'mnist'], ['forget', '--target', 7]):
        r = run(*args, '--path', tmp_path)
        assert r.returncode == 2 and 'train-labels-idx1-ubyte is damaged' in r.stderr
        assert r.stderr.count('\n') == 1
    assert (raw/'train-labels-idx1-ubyte').read_bytes()==b'short'

@pytest.mark.parametrize('delay', [0.5, 4])
def test_interrupt_leaves_no_half_written_file(tmp_path, delay):
    p = subprocess.Popen([*cmd, 'forget', '--target', '7', '--data', 'digits', '--seed', '77',
        '--recipe', 'original', '--path', str(tmp_path/'d'), '--out', str(tmp_path/'out')],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p.stderr.readline() # 'Training ...'
    time.sleep(delay)
    p.send_signal(signal.SIGINT)
    _,err = p.communicate(timeout=60)
    if p.returncode==0: pytest.skip('done before it could be interrupted')
    assert p.returncode==130 and err.strip().splitlines()[-1].startswith('forgetprune: interrupted')
    assert not (tmp_path/'out').exists() # it had made the folder
    assert not (tmp_path/'d'/'models').exists() or all(not f.name.startswith('.')
        for f in (tmp_path/'d'/'models').iterdir())

@pytest.mark.slow
def test_audit_is_added_to_a_finished_run(done, tmp_path):
    import shutil
    d,_ = done
    out = tmp_path/'run'
    shutil.copytree(d/'out', out)
    model = (out/'model.safetensors').read_bytes()
    for _ in range(2): # a second audit replaces the first
        r = run('audit', out, '--path', d, '--repeats', 1, '--goal', 0.3)
        assert r.returncode==0, r.stderr
    res,page = json.loads((out/'result.json').read_text()),(out/'report.html').read_text()
    assert res['audit']['verdict'] in ('present', 'suppressed', 'weakened', 'erased', 'unclear')
    assert res['audit']['verdict'].upper() in r.stdout
    assert page.count('<section id="audit">')==1 and 'http' not in page
    assert json.loads((out/'audit.json').read_text())==res['audit']
    assert (out/'audit.png').read_bytes()[:4]==b'\x89PNG'
    assert (out/'model.safetensors').read_bytes()==model
    assert not list(out.glob('.*'))

@pytest.mark.slow
def test_forget_and_audit_at_once(done, tmp_path):
    d,_ = done
    r = run('forget', '--target', 7, '--data', 'digits', '--path', d, '--out', tmp_path, '--audit',
        '--json')
    assert r.returncode==0, r.stderr
    assert json.loads(r.stdout)['audit']['name']=='7' and (tmp_path/'audit.png').exists()

@pytest.mark.slow
def test_audit_says_what_is_missing(done, tmp_path):
    d,_ = done
    r = run('audit', tmp_path)
    assert r.returncode==2 and 'forgetprune forget --target 7 --out' in r.stderr
    assert r.stderr.count('\n')==1
    net = next(p for p in (d/'models').iterdir())
    r = run('forget', '--target', 7, '--data', 'digits', '--path', d, '--model', net, '--audit')
    assert r.returncode==2 and '--gold FILE' in r.stderr
    r = run('forget', '--target', 7, '--data', 'digits', '--path', d, '--model', net, '--out',
        tmp_path)
    assert r.returncode==0, r.stderr
    r = run('audit', tmp_path, '--path', d)
    assert r.returncode==2 and '--gold FILE' in r.stderr and not (tmp_path/'audit.json').exists()

@pytest.mark.slow
def test_erasing_and_its_audit(done, tmp_path):
    d,_ = done
    r = run('forget', '--target', 7, '--data', 'digits', '--path', d, '--criterion', 'erasing',
        '--out', tmp_path/'out')
    assert r.returncode==0 and 'healed for 600 steps' in r.stdout, r.stderr
    r = run('audit', tmp_path/'out', '--path', d, '--repeats', 1, '--goal', 0.3)
    assert r.returncode==0, r.stderr
    found = json.loads((tmp_path/'out'/'audit.json').read_text())
    row = {(t['measure'], t['of']): t for t in found['table']}
    # before is the network as it was trained
    assert found['settings']['goal']==0.3
    assert row['accuracy', 'target']['before'] > 0.9 > 0.1 > row['accuracy', 'target']['subject']

@pytest.mark.parametrize('args,said', [(['--goal', '2'], '--goal'), (['--most', '0'], '--most'),
    (['--repeats', '0'], '--repeats')])
def test_audit_options_are_checked(done, args, said):
    d,_ = done
    r = run('audit', d/'out', '--path', d, *args)
    assert r.returncode==2 and said in r.stderr and r.stderr.count('\n')==1

@pytest.mark.slow
def test_audit_of_what_does_not_belong_together(done, tmp_path):
    import shutil
    d,_ = done
    for i,change in enumerate((lambda r: r | dict(target=3), lambda r: r | dict(seed=1),
            lambda r: r | dict(seed='abc'), lambda r: [1, 2])):
        out = tmp_path/str(i)
        shutil.copytree(d/'out', out)
        (out/'result.json').write_text(
            json.dumps(change(json.loads((out/'result.json').read_text()))))
        r = run('audit', out, '--path', d)
        assert r.returncode==2 and 'result.json' in r.stderr and r.stderr.count('\n')==1
    r = run('audit', d/'out', '--path', d, '--gold', d/'out'/'cut.safetensors')
    assert r.returncode==2 and 'does not say how its model is built' in r.stderr
    assert r.stderr.count('\n')==1
    r = run('forget', '--target', 7, '--data', 'digits', '--criterion', 'erasing', '--k', 5,
        '--path', tmp_path/'new', '--out', tmp_path/'never')
    assert r.returncode==2 and '--k' in r.stderr and not (tmp_path/'never').exists()
    assert not (tmp_path/'new').exists()

def test_magnitudes_of_a_checkpoint(tmp_path, capsys):
    weights = {'a.0.in.weight': torch.eye(4, 3), 'a.0.out.weight': 2*torch.eye(3, 4),
        'a.10.in.weight': torch.ones(4, 3), 'a.10.out.weight': torch.ones(3, 4),
        'a.9.in.weight': torch.ones(4, 3), 'a.9.out.weight': torch.zeros(3, 4)}
    save_file(weights, tmp_path/'own.safetensors')
    assert code(['magnitudes', str(tmp_path / 'own.safetensors')]) == 2
    assert 'say how they are named by' in capsys.readouterr().err
    names = ['--pattern', 'a.*.in.weight, a.*.out.weight']
    assert code(['magnitudes', str(tmp_path/'own.safetensors'), *names, '--json'])==0
    stats = json.loads(capsys.readouterr().out)
    assert [s['median'] for s in stats.values()]==[2, 0, 3] # blocks 0, 9, 10
    assert stats['0']['p10_p50'] < 1 and stats['9']['log_sarle'] is None
    assert code(['magnitudes', str(tmp_path/'own.safetensors'), *names, '--out',
        str(tmp_path/'out')])==0
    table = pd.read_csv(tmp_path/'out'/'magnitudes.csv')
    assert table.magnitude.tolist()==[2, 2, 2, 0]+[0]*4+[3]*4
    assert table.neuron.tolist()==[*range(4)]*3
    assert (tmp_path/'out'/'magnitudes.png').read_bytes()[:4]==b'\x89PNG'
    assert 'http' not in (tmp_path/'out'/'report.html').read_text()
    assert json.loads((tmp_path/'out'/'result.json').read_text())['blocks']==stats

@pytest.mark.parametrize('args,said', [(['magnitudes', 'nobody/nothing'], 'hub did not give it'),
    (['magnitudes', 'x', '--measure', 'max'], '--measure max is unknown'),
    (['data', 'bible'], 'there are mnist, fashion, kjv, foldoc')])
def test_magnitudes_and_data_say_what_is_wrong(args, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1'); monkeypatch.setenv('HF_HOME', str(tmp_path))
    assert code(args)==2
    err = capsys.readouterr().err
    assert said in err and err.count('\n')==1

def test_a_damaged_checkpoint_names_the_block(tmp_path, capsys):
    bad = torch.ones(4, 3); bad[0, 0] = float('nan')
    save_file({'mlp.0.c_fc.weight': torch.ones(3, 4), 'x.intermediate.dense.weight': bad,
        'x.output.dense.weight': torch.ones(3, 4)}, tmp_path/'m.safetensors')
    assert code(['magnitudes', str(tmp_path/'m.safetensors')])==2
    err = capsys.readouterr().err
    assert 'weights of x are NaN' in err and err.count('\n')==1

def test_interrupted_after_the_end():
    "What libraries do when Python ends is not interrupted with a traceback"
    code = """import atexit, time
atexit.register(lambda: (print('ends', flush=True), time.sleep(2)))
from forgetprune.cli import main
main(['--version'])"""
    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    while p.stdout.readline().strip()!='ends': assert p.poll() is None
    p.send_signal(signal.SIGINT)
    assert p.wait(60)==0 and p.stderr.read()==''
