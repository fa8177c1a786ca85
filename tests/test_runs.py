"A run's folder is one thing; what a command does when it cannot do what was asked"
import io, json, os, shutil, signal, subprocess, sys, time, warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
import pytest, torch
from safetensors.torch import save_file
from forgetprune.basics import part_folder, whole_file
from forgetprune.cli import main, summaries
from forgetprune.cut import Cut
from forgetprune.networks import load_model, mlp, save_model
from forgetprune.report import as_csv
from forgetprune.runs import digest, new_run, read_run, run_folder, run_id
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from trial.runs import aligned, checkpoint, in_child, interrupt, kill, stopped

def run(*args):
    "The command in this process"
    out,err = io.StringIO(),io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as e:
        main(list(map(str, args)))
    return SimpleNamespace(code=e.value.code or 0, out=out.getvalue(), err=err.getvalue())

def refused(*args, said=()):
    r = run(*args)
    assert r.code==2 and r.out=='' and r.err.count('\n')==1, (r.out, r.err)
    for s in said: assert s in r.err, r.err
    return r.err

def files(d): return {f.name: f.read_bytes() for f in sorted(d.iterdir())}

arch = dict(name='mlp', sizes=(64, 24, 20, 10))
@pytest.fixture(scope='module')
def net(tmp_path_factory):
    "A small network of somebody's"
    d = tmp_path_factory.mktemp('runs')
    torch.manual_seed(0)
    save_model(mlp(arch['sizes']), d/'net.safetensors', arch=arch, seed=0, data='digits')
    return d/'net.safetensors'

@pytest.fixture
def forget(net, tmp_path):
    def of(target, *more, out='run'):
        to = ('--out', tmp_path/out) if out else ()
        return run('forget', '--data', 'digits', '--model', net, '--k', 30, '--target', target,
            *to, *more)
    return of

@pytest.fixture(scope='module')
def made(net, tmp_path_factory):
    d = tmp_path_factory.mktemp('made')/'run'
    r = run('forget', '--data', 'digits', '--model', net, '--k', 30, '--target', 3, '--out', d)
    assert r.code==0, r.err
    return d

# ---- old or new, whatever happens

def test_killed_before_any_change_of_a_file():
    found = stopped(kill, settled=True)
    assert set(found)=={'old', 'new', 'new+audit'}, found
    assert sum(found.values()) > 20

def test_interrupted_before_any_change_of_a_file():
    found = stopped(interrupt, settled=False)
    assert set(found)=={'old', 'new', 'new+audit'}, found

@pytest.mark.parametrize('force', [(), ('--force',)])
def test_aligned_writers(force):
    found = aligned(2, force)
    assert sum(found.values())==2 and not [w for w in found if w.startswith('wrong')], found

def test_a_full_disk_leaves_the_old_run(tmp_path):
    with new_run(tmp_path/'d') as r: r.put(dict(command='forget'), {'curve.csv': 'old'})
    was = files(tmp_path/'d')
    def full(f): raise OSError(28, 'No space left on device')
    with pytest.raises(OSError, match='model.safetensors') as e, new_run(tmp_path/'d', True) as r:
        r.put(dict(command='forget', k=3), {'curve.csv': 'new', 'model.safetensors': full})
    assert '.forgetprune' not in str(e.value) and files(tmp_path/'d')==was

# ---- one folder, one run

def test_files_say_whose_they_are(made):
    res = read_run(made)
    assert set(res['files'])==set(files(made))-{'result.json'}
    assert res['run']==run_id(res)==load_model(made/'model.safetensors')[1]['run']
    assert Cut.load(made/'cut.safetensors').meta['run']==res['run']
    assert f'<meta name="run" content="{res["run"]}">' in (made/'report.html').read_text()

def test_a_folder_is_not_used_twice(forget, tmp_path, net):
    assert forget(3).code==0
    was = files(tmp_path/'run')
    weights = checkpoint(tmp_path/'c.safetensors', 1)
    others = [('forget', '--data', 'digits', '--target', 7, '--model', net),
        ('magnitudes', weights),
        ('recycle', '--steps', 200)]
    for args in others:
        refused(*args, '--out', tmp_path/'run', said=('a run of `forget` already', '--force'))
    assert files(tmp_path/'run')==was
    assert forget(3, '--force').code==0 and files(tmp_path/'run')==was # to the byte
    (tmp_path/'run'/'notes.txt').write_text('mine')
    assert run('magnitudes', weights, '--out', tmp_path/'run', '--force').code==0
    assert set(files(tmp_path/'run'))=={'magnitudes.csv', 'magnitudes.png', 'report.html',
        'result.json', 'notes.txt'}

def test_the_audit_of_another_class_does_not_stay(forget, tmp_path):
    assert forget(3).code==0
    d = tmp_path/'run'
    with run_folder(d) as r: # as `audit` does
        r.put(r.read() | dict(audit=dict(verdict='erased')), {'audit.json': '{}'}, more=True)
    assert read_run(d)['audit'] and (d/'audit.json').exists()
    assert forget(7, '--force').code==0
    assert 'audit' not in read_run(d) and not (d/'audit.json').exists()

@pytest.mark.parametrize('name', ['result.json', 'report.html', 'curve.csv'])
@pytest.mark.parametrize('force', [(), ('--force',)])
def test_what_no_run_has_written_is_left(forget, tmp_path, name, force):
    d = tmp_path/'run'
    d.mkdir(); (d/name).write_text('{"mine": 1}')
    r = forget(3, *force)
    assert r.code==2 and name in r.err and 'move it, or name another folder' in r.err
    assert files(d)=={name: b'{"mine": 1}'}

def test_force_leaves_a_file_that_was_edited(forget, tmp_path):
    assert forget(3).code==0
    d = tmp_path/'run'
    (d/'curve.csv').write_text('my own numbers')
    r = forget(7, '--force')
    assert r.code==2 and 'curve.csv' in r.err
    assert (d/'curve.csv').read_text()=='my own numbers'

def test_a_mixture_is_refused(made, tmp_path, net):
    other = tmp_path/'other'
    assert run('forget', '--data', 'digits', '--model', net, '--k', 30, '--target', 7, '--out',
        other).code==0
    for name in files(made):
        d = tmp_path/f'with-{name}'
        shutil.copytree(made, d); shutil.copy(other/name, d/name)
        refused('audit', d, '--epochs', 1, said=('DIR', str(d), 'result.json'))
    d = tmp_path/'edited' # a page may be
    shutil.copytree(made, d)
    (d/'report.html').write_text((d/'report.html').read_text().replace('<h1>', '<h1>Mine: '))
    assert read_run(d)['target']==3

def test_every_flipped_byte_of_a_result_is_seen(made, tmp_path):
    d = tmp_path/'d'
    shutil.copytree(made, d)
    raw = (d/'result.json').read_bytes()
    was = json.loads(raw)
    for i in range(0, len(raw), 7):
        (d/'result.json').write_bytes(raw[:i]+bytes([raw[i]^1])+raw[i+1:])
        try: assert read_run(d)==was, i # a blank, or another way to write the same
        except ValueError as e: assert 'result.json' in str(e)

# ---- what is there is tried, and what is not ours is left

def test_temporary_files_belong_to_their_process(tmp_path):
    mine = tmp_path/'.report.html-mybackup'
    mine.write_text('mine')
    def killed(how):
        def f():
            with how(tmp_path/'report.html'): kill()
        return in_child(f)
    for how in (whole_file, part_folder): assert killed(how)==-signal.SIGKILL
    assert len(list(tmp_path.iterdir()))==2 # the second has removed what the first had left
    with whole_file(tmp_path/'b') as held: # another process alive: this one, seen from a child
        def child():
            with whole_file(tmp_path/'c') as f: f.write_text('c')
        assert in_child(child)==0 and held.exists()
    assert {f.name for f in tmp_path.iterdir()}=={mine.name, 'b', 'c'}

def test_umask_is_honoured(tmp_path, net):
    def child():
        os.umask(0o027)
        with redirect_stdout(io.StringIO()), pytest.raises(SystemExit):
            main(['magnitudes', checkpoint(tmp_path/'c.safetensors', 1), '--out',
                str(tmp_path/'out')])
        with whole_file(tmp_path/'f') as f: f.write_text('x')
        save_model(mlp(arch['sizes']), tmp_path/'m', arch=arch)
    assert in_child(child)==0
    made = [*(tmp_path/'out').iterdir(), tmp_path/'f', tmp_path/'m']
    assert len(made)==6 and {f.stat().st_mode & 0o777 for f in made}=={0o640}

def test_places_are_tried_before_the_work(tmp_path, monkeypatch, made):
    import forgetprune.forget_command as c, forgetprune.subjects as s
    def worked(*_, **__): raise AssertionError('it began to work')
    for m,n in ((s, 'train'), (c, 'answers_to'), (s, 'audit')): monkeypatch.setattr(m, n, worked)
    text = ('forget', '--data', 'digits', '--target', 7, '--seed', 5)
    refused(*text, '--path', '/proc', said=('--path /proc', 'cannot be written to'))
    (tmp_path/'file').write_text('')
    refused(*text, '--path', tmp_path, '--out', tmp_path/'file', said=(f'--out {tmp_path}/file',))
    refused(*text, '--path', tmp_path, '--out', '/proc/x', said=('--out /proc/x',))
    monkeypatch.setattr('tempfile.mkdtemp', lambda **_: os.mkdir('/proc/x')) # a drive read-only
    refused('audit', made, '--epochs', 1, said=('DIR', 'cannot write there'))

@pytest.mark.parametrize('args', [('--out', ''), ('--out=',), ('--out', ' '), ('--path', ''),
    ('--path=',), ('--model', '')])
def test_empty_is_not_here(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'result.json').write_text('mine')
    name = args[0].strip('=')
    refused('forget', '--data', 'digits', '--target', 7, *args, said=(f'{name} is empty',))
    assert files(tmp_path)=={'result.json': b'mine'}

# ---- a sentence, no traceback

def test_long_and_deep(made, tmp_path):
    refused('forget', '--data', 'digits', '--target', 7, '--k', '1'*31, said=('--k 111', '0.02'))
    deep = '['*100_000
    d = tmp_path/'d'
    shutil.copytree(made, d)
    for text in (deep, f'{{"command": {deep}', '[]', '3', 'null', '"a"', '{}', '\xff', ''):
        (d/'result.json').write_text(text, encoding='latin-1')
        refused('audit', d, '--epochs', 1, said=('result.json is not what forgetprune writes',))
    (tmp_path/'s.toml').write_text(f'experiment = {deep}')
    refused('sweep', tmp_path/'s.toml', '--store', tmp_path/'s.db', said=('s.toml is not a TOML',))
    (tmp_path/'model.safetensors.index.json').write_text(f'{{"weight_map": {deep}')
    refused('magnitudes', tmp_path, said=('index.json is not an index',))

odd = [None, True, 3, -1, 2.5, 'x', [1], {'a': 1}]
@pytest.mark.parametrize('key', ['command', 'data', 'seed', 'target', 'target_name', 'model',
    'recipe', 'size', 'bs', 'classes', 'arch'])
def test_a_result_with_other_values(made, tmp_path, key):
    "Signed rightly, as nobody but a forger would"
    d = tmp_path/'d'
    shutil.copytree(made, d)
    was = json.loads((d/'result.json').read_text())
    for v in odd:
        res = {k: x for k,x in was.items() if k not in ('run', 'files', 'checksum')} | {key: v}
        page = (made/'report.html').read_bytes().replace(was['run'].encode(), run_id(res).encode())
        (d/'report.html').write_bytes(page)
        res |= dict(run=run_id(res), files=was['files'])
        (d/'result.json').write_text(json.dumps(res | dict(checksum=digest(res, ()))))
        refused('audit', d, '--gold', made/'cut.safetensors') # which is no network

def test_dollars(tmp_path):
    "matplotlib would read mathematics, and fail on this one"
    d = tmp_path/r'a$\frac{$'
    d.mkdir()
    name = r'$\b{$.ff'
    save_file({f'{name}.up.weight': torch.eye(4, 3), f'{name}.down.weight': torch.ones(3, 4)},
        d/'c.safetensors')
    r = run('magnitudes', d/'c.safetensors', '--out', tmp_path/'out')
    assert r.code==0, r.err
    from forgetprune.report import plot_answers
    from forgetprune.figures import figure_png
    counts = torch.tensor([1, 2])
    assert figure_png(plot_answers(counts, counts, [r'$\frac{$', 'b'], r'of $\frac{$'))

def test_csv_has_no_formulas(tmp_path):
    import pandas as pd
    names = ['=1+1', '+a', '-a', '@a', 'a=b']
    t = pd.DataFrame(dict(block=names, n=[-1., 2, 3, 4, 5]))
    back = pd.read_csv(io.StringIO(as_csv(t)))
    assert back.block.tolist()==["'=1+1", "'+a", "'-a", "'@a", 'a=b']
    assert back.n.tolist()==[-1, 2, 3, 4, 5]

def test_a_network_of_another_seed_is_told(net):
    args = ('forget', '--data', 'digits', '--model', net, '--k', 30, '--target', 3, '--json')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        assert run(*args).code==0
    assert not [w for w in said if 'trained with' in str(w.message)]
    with pytest.warns(UserWarning, match='trained with seed 0.*give --seed 0'):
        assert run(*args, '--seed', 1).code==0

def test_a_damaged_network_is_named(tmp_path):
    model = mlp(arch['sizes'])
    with torch.no_grad(): model[3].weight[0, 0] = float('nan')
    save_model(model, tmp_path/'m.safetensors', arch=arch)
    err = refused('forget', '--data', 'digits', '--model', tmp_path/'m.safetensors', '--target', 3)
    assert '3.weight' in err and 'damaged' in err and 'data' not in err.split('damaged')[1]

def test_messages_name_options_that_are_there(tmp_path):
    import typer.main
    import forgetprune.audit_command, forgetprune.forget_command, forgetprune.recycle_command # noqa
    from forgetprune.commands import app
    options = {c: {o for p in cmd.params for o in p.opts} for c,cmd
        in typer.main.get_command(app).commands.items()}
    assert set(options)==set(summaries())
    wrong = [('recycle', '--frac', '0.0001'), ('magnitudes', checkpoint(tmp_path/'c', 1)),
        ('recycle', '--data', checkpoint(tmp_path/'x.txt', 1))]
    for args in wrong:
        named = {w.strip('.,:;()') for w in refused(*args).split() if w.startswith('--')}
        assert named <= options[args[0]], named
    assert 'blocks=' not in refused(*wrong[0])

started = [sys.executable, '-c', 'from forgetprune.cli import main; main()']
@pytest.mark.slow
def test_no_output_and_a_full_one(tmp_path):
    args = [*started, 'magnitudes', checkpoint(tmp_path/'c.safetensors', 1)]
    no = subprocess.run(['sh', '-c', '"$@" >&-', 'sh', *args], capture_output=True, text=True)
    assert no.returncode==0 and no.stderr=='', no.stderr
    with open('/dev/full', 'w') as f:
        full = subprocess.run([*args, '--out', tmp_path/'out'], stdout=f, stderr=subprocess.PIPE,
            text=True)
    assert full.returncode==2 and full.stderr.count('\n')==1 and 'printing failed' in full.stderr
    assert read_run(tmp_path/'out')['command']=='magnitudes'

def test_nobody_reads():
    r,w = os.pipe(); os.close(r)
    gone = subprocess.run([*started, '--help'], stdout=w, stderr=subprocess.PIPE, text=True)
    os.close(w)
    assert gone.returncode==141 and gone.stderr.count('\n')==1 and 'closed' in gone.stderr

@pytest.mark.slow
def test_interrupted_in_the_first_seconds(tmp_path):
    "Sentence or silence, no traceback; Python itself needs the first moments"
    for wait in (0.15, 0.3, 0.6, 1, 2):
        p = subprocess.Popen([*started, 'forget', '--data', 'digits', '--target', '7', '--path',
            str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(wait)
        p.send_signal(signal.SIGINT)
        _,err = p.communicate(timeout=60)
        if p.returncode==0: continue
        # Python, before it read ours
        if p.returncode==-2 and 'forgetprune/' not in err: continue
        if p.returncode==1 and err.startswith('Fatal Python error: init_import_site'): continue
        assert p.returncode==130 and 'Traceback' not in err, (wait, err)
        assert err.splitlines()[-1].startswith('forgetprune: interrupted')
