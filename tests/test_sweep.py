"Sweeps: nothing lost, nothing run twice, failures kept apart, many machines"
import json, os, random, signal, sqlite3, subprocess, sys, textwrap, time, warnings
from pathlib import Path
from functools import partial
import joblib, numpy as np, pandas as pd, pytest, torch
from forgetprune.experiments import find_experiment
from forgetprune.grids import *
from forgetprune.seeds import *
from forgetprune.sweep import *

quiet = dict(progress=False)

def square(x, seed=0): return dict(y=x*x+seed)

def test_wrong_arguments_are_said_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match='it takes x, seed'):
        sweep(square, dict(z=[1]), store=tmp_path/'a.db', **quiet)
    assert not (tmp_path/'a.db').exists()

def test_order_and_types(tmp_path):
    def f(x, seed):
        return dict(i=np.int64(3), f=torch.tensor(0.5), s='a', none=None, nan=float('nan'),
            many=[1, np.float32(2)])
    df = sweep(f, dict(x=[3, 1, 2]), [5, 4], tmp_path/'a.db', n_jobs=0, **quiet)
    assert df.x.tolist()==[3, 3, 1, 1, 2, 2] and df.seed.tolist()==[5, 4]*3
    assert df.error.isna().all()
    assert (df.i==3).all() and (df.f==0.5).all() and (df.s=='a').all() and df['none'].isna().all()
    assert df.nan.isna().all() and df.many[0]==[1, 2.0]

@pytest.mark.parametrize('out,msg', [(3, 'a dict'), (dict(x=1), 'another column'),
    (dict(y=object()), 'cannot be written down')])
def test_what_comes_out_must_fit(out, msg, tmp_path):
    with pytest.warns(UserWarning, match='1 of 1 runs failed'):
        df = sweep(lambda x, seed: out, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, name='f',
            **quiet)
    assert msg in df.error[0]

def test_failures_stay_apart_and_are_tried_again(tmp_path):
    tries = tmp_path/'tries'
    def f(x, seed):
        with open(tries, 'a') as t: t.write(f'{x} ')
        if x==2 and not (tmp_path/'mended').exists(): raise RuntimeError('no luck')
        return dict(y=x)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        df = sweep(f, dict(x=[1, 2, 3]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    assert df.y.tolist()[::2]==[1, 3] and 'RuntimeError: no luck' in df.error[1]
    assert 'in f' in df.error[1]
    with pytest.warns(UserWarning, match='1 of 3'):
        sweep(f, dict(x=[1, 2, 3]), store=tmp_path/'a.db', n_jobs=0, retry=False, **quiet)
    (tmp_path/'mended').touch()
    assert sweep(f, dict(x=[1, 2, 3]), store=tmp_path/'a.db', n_jobs=0, **quiet).error.isna().all()
    assert tries.read_text()=='1 2 3 2 '

def test_a_run_that_kills_its_process(tmp_path):
    def f(x, seed):
        if x==4: os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return dict(y=x)
    with pytest.warns(UserWarning, match='1 of 8 runs failed'):
        df = sweep(f, dict(x=list(range(8))), store=tmp_path/'a.db', n_jobs=2, **quiet)
    assert df.y.dropna().tolist()==[0, 1, 2, 3, 5, 6, 7] and 'died' in df.error[4]

def test_a_run_that_kills_the_only_process(tmp_path):
    tries = tmp_path/'tries'
    def f(x, seed):
        with open(tries, 'a') as t: t.write(f'{x} ')
        if x==2: os.kill(os.getpid(), signal.SIGKILL)
        return dict(y=x, pid=os.getpid())
    with pytest.warns(UserWarning, match='1 of 4 runs failed'):
        df = sweep(f, dict(x=[1, 2, 3, 4]), store=tmp_path/'a.db', n_jobs=1, **quiet)
    assert df.y.dropna().tolist()==[1, 3, 4] and 'died' in df.error[1]
    assert tries.read_text()=='1 2 3 4 ' # nor is it done twice, as it is clear which one it was
    assert os.getpid() not in df.pid.values

LONELY = textwrap.dedent('''
    import os, sys, time
    from forgetprune.sweep import sweep
    def endless(x, seed):
        with open(f'pid-{x}', 'w') as f: f.write(str(os.getpid()))
        while True: sum(range(1000))
    sweep(endless, dict(x=[1, 2]), store='a.db', n_jobs=int(sys.argv[1]), progress=False)
''')

def there(pid):
    "Is the process alive, and no zombie?"
    try: return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0]!='Z'
    except (FileNotFoundError, ProcessLookupError): return False

@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='reads /proc')
@pytest.mark.parametrize('n_jobs', [1, 2])
def test_workers_end_with_their_driver(n_jobs, tmp_path):
    (tmp_path/'driver.py').write_text(LONELY)
    p = subprocess.Popen([sys.executable, 'driver.py', str(n_jobs)], cwd=tmp_path)
    pids = []
    while p.poll() is None and len(pids) < n_jobs:
        time.sleep(0.05)
        pids = [int(t) for f in tmp_path.glob('pid-*') if (t := f.read_text())]
    p.kill(); p.wait()
    since = time.monotonic()
    while any(map(there, pids)) and time.monotonic()-since < 20: time.sleep(0.05)
    left = [pid for pid in pids if there(pid)]
    for pid in left: os.kill(pid, signal.SIGKILL)
    assert len(pids)==n_jobs and not left

def large(x, began, seed):
    with open(began, 'a') as f: f.write(f'{x} ')
    time.sleep(0.05)
    return dict(y=x, text=str(x)*2000)

@pytest.mark.parametrize('n_jobs', [0, 2])
def test_a_full_disk_loses_no_row(n_jobs, tmp_path, monkeypatch, recwarn):
    "A file that may not grow stands for the disk; it grows again when the room is given back"
    began,store = tmp_path/'began',tmp_path/'a.db'
    opened,given = Store._open,Store._give_room
    def small(self):
        opened(self)
        self.db.execute('PRAGMA max_page_count=8')
    def more(self):
        self.db.execute('PRAGMA max_page_count=1000000')
        return given(self)
    grid = dict(x=list(range(10, 30)), began=[str(began)])
    with monkeypatch.context() as m:
        m.setattr(Store, '_open', small); m.setattr(Store, '_give_room', more)
        with pytest.raises(ValueError, match='disk is full.*All rows that were computed are there'):
            sweep(large, grid, store=store, n_jobs=n_jobs, **quiet)
    assert not [w for w in recwarn if 'trying again' in str(w.message)] # in 1 s, 5 s, … 5 minutes
    with Store(store) as s: assert len(s.rows())==len(began.read_text().split()) < 20
    df = sweep(large, grid, store=store, n_jobs=0, **quiet)
    assert df.y.tolist()==grid['x']
    assert sorted(map(int, began.read_text().split()))==grid['x'] # each once
    assert sorted(f.name for f in tmp_path.iterdir())==['a.db', 'began']

def test_a_row_that_fits_nowhere_is_shown(tmp_path, monkeypatch, capsys):
    with Store(tmp_path/'a.db') as s:
        s.db.execute('PRAGMA max_page_count=3')
        with pytest.raises(ValueError, match='full.*stands above'):
            s.add('f', '{"x": 1}', 0, result=json.dumps(dict(y='a'*9000)))
        row = json.loads(capsys.readouterr().err)
    with Store(tmp_path/'a.db') as s:
        row.pop('finished'); s.add(**row)
        assert len(s.result('', s.rows()['{"x": 1}', 0])['y'])==9000

def test_without_room_nothing_is_begun(tmp_path, monkeypatch):
    import errno
    def none(*a, **kw): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr('forgetprune.sweep.tempfile.TemporaryFile', none)
    with pytest.raises(ValueError, match='no room for its rows .No space left'):
        sweep(lambda x, seed: 1/0, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, name='f', **quiet)

@pytest.mark.parametrize('seeds', [['1'], [None], [2**64], [0.5], True, [True], 'ab'])
def test_seeds_are_whole_numbers(seeds, tmp_path):
    with pytest.raises(ValueError, match='seeds'):
        sweep(square, dict(x=[1]), seeds, tmp_path/'a.db', n_jobs=0, **quiet)
    assert not (tmp_path/'a.db').exists()

def test_seeds_of_numpy_and_torch(tmp_path):
    for seeds in (np.arange(2), [np.int64(0), torch.tensor(1)], np.int64(2), range(2)):
        assert sweep(square, dict(x=[3]), seeds, tmp_path/'a.db', n_jobs=0, **quiet).y.tolist()==[9,
            10]
    with Store(tmp_path/'a.db') as s: assert sorted(k[1] for k in s.rows())==[0, 1]

def test_a_run_that_exits_is_a_failure(tmp_path):
    def f(x, seed):
        if x==2: sys.exit(0)
        print('not a result')
        return dict(y='\udcff')
    with pytest.warns(UserWarning, match='1 of 3'):
        df = sweep(f, dict(x=[1, 2, 3]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    assert 'SystemExit' in df.error[1] and df.y[0]=='\udcff'

def test_a_failure_does_not_replace_a_success(tmp_path):
    with Store(tmp_path/'a.db') as s:
        s.add('f', '{}', 0, error='first')
        s.add('f', '{}', 0, result='{"y": 1}'); s.add('f', '{}', 0, error='later')
        assert s.rows()['{}', 0]['result']=='{"y": 1}' and s.rows()['{}', 0]['error'] is None

def test_closures_are_told_apart(tmp_path):
    def make(k):
        def f(x, seed): return dict(y=k*x)
        return f
    sweep(make(1), dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    with pytest.warns(UserWarning, match='have changed since'):
        sweep(make(5), dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)

def test_as_parallel_config_says(tmp_path):
    def f(x, seed): return dict(pid=os.getpid())
    with joblib.parallel_config(n_jobs=1):
        df = sweep(f, dict(x=[1, 2]), store=tmp_path/'a.db', **quiet)
    assert set(df.pid)=={os.getpid()}
    # any argument name will do
    assert len(sweep(lambda what, seed: dict(y=what), dict(what=[1, 2]), store=tmp_path/'a.db',
        n_jobs=0, name='g', **quiet))==2

def test_settings_are_not_results(tmp_path):
    df = sweep(lambda c, k, seed: dict(y=k), dict(c=['a'], k=[1, 2]), 2, tmp_path/'a.db', n_jobs=0,
        name='f', **quiet)
    assert over_seeds(df, 'c').value.tolist()==['y']
    with pytest.raises(ValueError, match='level=95'): over_seeds(df, 'c', level=95)

def test_progress_in_lines(tmp_path, capsys):
    sweep(square, dict(x=[1, 2, 3]), store=tmp_path/'a.db', n_jobs=0, progress='lines')
    said = capsys.readouterr()
    assert [l[:8] for l in said.err.splitlines()]==['1 of 3 r', '3 of 3 r'] and not said.out
    sweep(square, dict(x=[1, 2, 3]), store=tmp_path/'a.db', n_jobs=0, progress='lines')
    assert not capsys.readouterr().err # nothing was left to do
    with pytest.raises(ValueError, match="progress='line'"):
        sweep(square, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, progress='line')

def test_a_row_with_nothing_in_it_is_run_again(tmp_path):
    sweep(square, dict(x=[2]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    with Store(tmp_path/'a.db') as s, s.db: s.db.execute('UPDATE runs SET result=NULL')
    assert sweep(square, dict(x=[2]), store=tmp_path/'a.db', n_jobs=0, retry=False, **quiet).y[0]==4

def test_tensors_of_the_grid_are_numbers_in_the_table(tmp_path):
    df = sweep(square, dict(x=[torch.tensor(2), torch.tensor(3)]), store=tmp_path/'a.db', n_jobs=0,
        **quiet)
    assert df.x.tolist()==[2, 3] and pd.api.types.is_integer_dtype(df.x)

def test_changed_helpers_are_noticed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    import importlib
    code = (
        "def helper(x): return {}*x\ndef run(x, seed): return dict(y=[helper(v) for v in [x]][0])\n"
    )
    (tmp_path/'mine.py').write_text(code.format(2))
    import mine
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for _ in range(2): sweep(mine.run, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    (tmp_path/'mine.py').write_text(code.format(1000))
    importlib.invalidate_caches(); importlib.reload(mine)
    with pytest.warns(UserWarning, match='have changed since'):
        sweep(mine.run, dict(x=[1, 2]), store=tmp_path/'a.db', n_jobs=0, **quiet)

class Times:
    def __init__(self, k): self.k = k
    def run(self, x, seed): return dict(y=self.k*x)

def test_methods_of_other_objects_are_told_apart(tmp_path):
    sweep(Times(1).run, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    with pytest.warns(UserWarning, match='have changed since'):
        sweep(Times(200).run, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)

def test_other_columns_are_no_seeds(tmp_path):
    df = sweep(lambda x, y, seed: dict(out=100*y+seed), dict(x=[1, 2], y=[0, 1]), 3,
        tmp_path/'a.db', n_jobs=0, name='f', **quiet)
    for f in (lambda: over_seeds(df, 'x'), lambda: plot_sweep(df, 'x', 'out')):
        with pytest.warns(UserWarning, match='by: y varies'): f()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        over_seeds(df, ['x', 'y']); plot_sweep(df, 'x', 'out', 'y'); over_seeds(df[df.y==0], 'x')
    with pytest.raises(ValueError, match='by: name the column'): over_seeds(df, [])

def test_nothing_is_left_out_of_the_figure(tmp_path):
    df = sweep(lambda x, seed: dict(out=seed), dict(x=[None, 1, 2]), 2, tmp_path/'a.db', n_jobs=0,
        name='f', **quiet)
    assert [t.get_text() for t in plot_sweep(df, 'x', 'out').axes[0].get_xticklabels()]==['None',
        '1', '2']
    df = pd.DataFrame([dict(x=x, seed=s, y=s) for x in (True, False) for s in range(2)])
    assert [t.get_text() for t in plot_sweep(df, 'x', 'y').axes[0].get_xticklabels()]==['True',
        'False']
    df = pd.DataFrame([dict(x=x, seed=s, y=s) for x in (1e4, 1e6, 1e8) for s in range(2)])
    assert [t.get_text() for t in plot_sweep(df, 'x', 'y', logx=True).axes[0].get_xticklabels()]==[
        '10,000', '1,000,000', '100,000,000']
    with pytest.raises(ValueError, match='no run succeeded'):
        plot_sweep(pd.DataFrame([dict(x=1, seed=0, error='no')]), 'x', 'y')

def test_truth_values_are_summed_up(tmp_path):
    df = sweep(lambda x, seed: dict(ok=seed==0), dict(x=[1]), 4, tmp_path/'a.db', n_jobs=0,
        name='f', **quiet)
    got = over_seeds(df, 'x').iloc[0]
    assert (got.value, got.n, got['mean'])==('ok', 4, 0.25)

def test_functions_without_a_name_need_one(tmp_path):
    from functools import partial
    for f in (lambda x, seed: dict(y=1), partial(square, 3)):
        with pytest.raises(ValueError, match='name='):
            sweep(f, dict(x=[1]) if not isinstance(f, partial) else [{}], store=tmp_path/'a.db',
                n_jobs=0, **quiet)
    assert sweep(partial(square, 3), [{}], store=tmp_path/'a.db', n_jobs=0, name='three',
        **quiet).y[0]==9

def test_several_sweeps_in_one_store(tmp_path):
    a = sweep(square, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    b = sweep(lambda x, seed: dict(y=-x), dict(x=[1]), store=tmp_path/'a.db', n_jobs=0,
        name='other', **quiet)
    assert a.y[0]==1 and b.y[0]==-1
    with Store(tmp_path/'a.db') as s: assert s.names()==['other', 'square']

def test_stores_that_are_none(tmp_path):
    with sqlite3.connect(tmp_path/'same.db') as c: c.execute('CREATE TABLE runs (x)')
    with pytest.raises(ValueError, match='another table'): Store(tmp_path/'same.db')
    with sqlite3.connect(tmp_path/'same.db') as c:
        assert c.execute('PRAGMA user_version').fetchone()==(0,)
    (tmp_path/'text').write_text('not a database, but long enough to be one'*50)
    with sqlite3.connect(tmp_path/'foreign.db') as c: c.execute('CREATE TABLE mine (x)')
    for f,msg in (('text', 'cannot be used'), ('foreign.db', 'no store'),
            ('nowhere/a.db', 'no folder')):
        with pytest.raises(ValueError, match=msg):
            sweep(square, dict(x=[1]), store=tmp_path/f, **quiet)
    assert (tmp_path/'text').read_text().startswith('not a database')
    with sqlite3.connect(tmp_path/'foreign.db') as c:
        assert [r[0] for r in c.execute('SELECT name FROM sqlite_master')]==['mine']

def test_interrupted_by_hand(tmp_path):
    def f(x, seed):
        if x==3 and not (tmp_path/'on').exists(): raise KeyboardInterrupt
        return dict(y=x)
    with pytest.raises(KeyboardInterrupt):
        sweep(f, dict(x=[1, 2, 3, 4]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    with Store(tmp_path/'a.db') as s: assert len(s.rows())==2
    (tmp_path/'on').touch()
    assert sweep(f, dict(x=[1, 2, 3, 4]), store=tmp_path/'a.db', n_jobs=0, **quiet).y.tolist()==[1,
        2, 3, 4]

DRIVER = textwrap.dedent('''
    import time
    from pathlib import Path
    from forgetprune.sweep import sweep
    def slow(x, seed):
        with open('ran', 'a') as f: f.write(f'{x} ')
        time.sleep(0.03)
        return dict(y=x*x)
    if __name__=='__main__':
        df = sweep(slow, dict(x=list(range(40))), store='a.db', n_jobs=2, progress=False)
        print(df.y.sum())
''')

@pytest.mark.parametrize('seed', range(3))
def test_driver_killed_at_any_moment(seed, tmp_path):
    (tmp_path/'driver.py').write_text(DRIVER)
    wait,rows = random.Random(seed),{}
    def read():
        with Store(tmp_path/'a.db') as s: return s.rows()
    for _ in range(3):
        p = subprocess.Popen([sys.executable, 'driver.py'], cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        n,stop = len(rows),wait.randint(1, 10)
        while p.poll() is None and len(read()) < n+stop: time.sleep(wait.random()*0.02)
        p.send_signal(signal.SIGKILL); p.wait()
        now = read() # whole, and with all that was there
        assert {k: now[k] for k in rows}==rows
        assert all(json.loads(r['result']) for r in now.values())
        rows = now
    assert subprocess.run([sys.executable, 'driver.py'], cwd=tmp_path, capture_output=True,
        text=True, timeout=120).stdout.strip()==str(sum(x*x for x in range(40)))
    assert {k: v for k,v in read().items() if k in rows}==rows and len(read())==40
    ran = list(map(int, (tmp_path/'ran').read_text().split()))
    assert set(ran)==set(range(40)) and len(ran) <= 40+3*4 # only what was on its way is done again

def here(folder, monkeypatch, *args):
    "The command in this process and in `folder`, with the modules that are there now"
    import io
    from contextlib import redirect_stderr, redirect_stdout
    from forgetprune.cli import main
    monkeypatch.chdir(folder); monkeypatch.syspath_prepend(folder)
    forget_modules = lambda: [sys.modules.pop(m, None) for m in ('mine', 'toy')]
    out,err = io.StringIO(),io.StringIO()
    forget_modules() # other tests import theirs under the same names
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as e: main([*args])
    forget_modules()
    return subprocess.CompletedProcess(args, e.value.code or 0, out.getvalue(), err.getvalue())

@pytest.mark.slow
def test_from_the_command_line(tmp_path, monkeypatch):
    (tmp_path / 'mine.py').write_text(
        "def f(x, seed):\n    if x==2 and seed==1: raise ValueError('oh no')\n    return "
        "dict(y=x+seed)\n"
    )
    (tmp_path/'c.toml').write_text('experiment = "mine:f"\nseeds = 2\n[grid]\nx = [1, 2]\n')
    args = 'sweep', 'c.toml', '--store', 'a.db', '--jobs', '1'
    def run(*more): return here(tmp_path, monkeypatch, *args, *more)
    def started(*more): # in a process of its own, which shows warnings
        return subprocess.run([sys.executable, '-c', 'from forgetprune.cli import main; main()',
            *args, *more], cwd=tmp_path, capture_output=True, text=True)
    r = started()
    assert r.returncode == 1 and '3 of 4 runs are done' in r.stdout
    assert '1 of 4 runs failed' in r.stderr and 'Traceback' not in r.stderr
    r = run()
    assert r.returncode==2 and 'already has 4 rows' in r.stderr
    (tmp_path/'mine.py').write_text('def f(x, seed): return dict(y=x+seed)\n')
    r = started('--resume', '--json')
    assert r.returncode==0 and [row['y'] for row in json.loads(r.stdout)]==[1, 2, 2, 3]
    assert 'have changed since' in r.stderr
    (tmp_path/'c.toml').write_text('experiment = "mine:g"\n')
    r = run('--resume')
    assert r.returncode==2 and r.stderr.count('\n')==1 and 'cannot be imported' in r.stderr

# ---- many machines: a scheduler and two workers, each a process of its own

@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip('distributed')
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(sys.path)}
    start = lambda *a: subprocess.Popen([sys.executable, '-m', *a], cwd=tmp_path, env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    where = tmp_path/'scheduler.json'
    ps = [start('distributed.cli.dask_scheduler', '--host', '127.0.0.1', '--port', '0',
        '--no-dashboard', '--scheduler-file', str(where))]
    ps += [start('distributed.cli.dask_worker', '--scheduler-file', str(where), '--nthreads', '1',
        '--no-nanny', '--no-dashboard', '--name', f'w{i}', '--local-directory', str(tmp_path))
        for i in (0, 1)]
    from distributed import Client
    client = Client(scheduler_file=str(where), timeout=60)
    try:
        client.wait_for_workers(2, timeout=60)
        yield client,ps[1:]
    finally:
        client.close()
        for p in ps: p.kill(); p.wait()

def test_a_worker_lost_in_mid_sweep(cluster, tmp_path):
    client,workers = cluster
    def slow(x, seed):
        time.sleep(0.2)
        return dict(y=x+seed, pid=os.getpid())
    import threading
    def kill():
        while True:
            try:
                with Store(tmp_path/'a.db') as s:
                    if len(s.rows()) >= 6: break
            except ValueError: pass # not made yet
            time.sleep(0.05)
        workers[0].send_signal(signal.SIGKILL)
    t = threading.Thread(target=kill); t.start()
    with joblib.parallel_config('dask'):
        df = sweep(slow, dict(x=list(range(12))), 2, tmp_path/'a.db', **quiet)
    t.join()
    assert workers[0].poll() is not None and df.error.isna().all()
    assert df.y.tolist()==[x+s for x in range(12) for s in (0, 1)]
    assert {p.pid for p in workers}==set(df.pid) # both had worked
    with Store(tmp_path/'a.db') as s: assert len(s.rows())==24

def test_backends_that_give_no_rows_before_the_end(tmp_path):
    with joblib.parallel_config('multiprocessing', n_jobs=2):
        df = sweep(square, dict(x=[1, 2, 3, 4, 5]), 1, tmp_path/'a.db', **quiet)
    assert df.y.tolist()==[1, 4, 9, 16, 25]

def test_on_ray(tmp_path):
    ray = pytest.importorskip('ray')
    from ray.util.joblib import register_ray
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config('ray'):
            df = sweep(square, dict(x=[1, 2, 3]), 2, tmp_path/'a.db', **quiet)
    finally: ray.shutdown()
    assert df.y.tolist()==[1, 2, 4, 5, 9, 10]

def test_names_of_all_kinds(tmp_path):
    "One that is given is taken as it is; what has none is told what to do"
    def calls(**kw): return sweep(lambda x, seed: dict(y=x), dict(x=[1]), 1, tmp_path/'a.db',
        n_jobs=0, **quiet, **kw)
    assert calls(name='<script>').y.tolist()==[1]
    assert Store(tmp_path/'a.db').names()==['<script>']
    with pytest.raises(ValueError, match='fn=<function .*lambda.*name="widths"'): calls()
    with pytest.raises(ValueError, match='fn=functools.partial.*give one'):
        sweep(partial(square, 1), {}, 1, tmp_path/'a.db', n_jobs=0, **quiet)

def test_experiments_have_names():
    assert find_experiment('recycle').__name__=='recycle_cell'
    for bad,msg in (('nope', 'unknown'), ('no.such:f', 'cannot be imported'),
            ('math:pi', 'no function')):
        with pytest.raises(ValueError, match=msg): find_experiment(bad)

def takes(x, seed=0):
    x.append(seed)
    return dict(y=len(x))

@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [0, 1, 2])
def test_a_run_may_change_what_it_was_given(n_jobs, tmp_path):
    df = sweep(takes, dict(x=[[1], [2]]), 2, tmp_path/'a.db', n_jobs=n_jobs, **quiet)
    assert df.y.tolist()==[2]*4 and df.x.tolist()==[[1], [1], [2], [2]]

def test_whatever_a_run_raises_is_its_own_failure(tmp_path):
    def f(x, seed):
        if x==1: raise GeneratorExit('odd')
        return dict(y=x)
    with pytest.warns(UserWarning, match='1 of 2'):
        df = sweep(f, dict(x=[1, 2]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    assert 'GeneratorExit' in df.error[0] and df.y[1]==2

def test_what_a_function_was_made_with_counts(tmp_path):
    from functools import partial
    def f(x, k, seed): return dict(y=k)
    run = lambda fn: sweep(fn, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, name='f', **quiet)
    run(partial(f, k=2))
    with warnings.catch_warnings():
        warnings.simplefilter('error'); run(partial(f, k=2))
    with pytest.warns(UserWarning, match='have changed since'): run(partial(f, k=3))
    def made(held): return lambda x, seed: dict(y=held[0])
    sweep(made([1]), dict(x=[1]), store=tmp_path/'b.db', n_jobs=0, name='f', **quiet)
    with pytest.warns(UserWarning, match='have changed since'):
        sweep(made([5]), dict(x=[1]), store=tmp_path/'b.db', n_jobs=0, name='f', **quiet)

def test_a_store_that_cannot_be_written_is_said_first(tmp_path):
    sweep(square, dict(x=[1]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    (tmp_path/'a.db').chmod(0o444)
    if os.access(tmp_path/'a.db', os.W_OK): pytest.skip('this user may write to everything')
    with pytest.raises(ValueError, match='cannot be written'):
        sweep(square, dict(x=[1, 2]), store=tmp_path/'a.db', n_jobs=0, **quiet)

def test_wrong_names_and_columns(tmp_path):
    df = sweep(square, dict(x=[2, 1]), store=tmp_path/'a.db', n_jobs=0, **quiet)
    for f,msg in ((lambda: sweep(3, {}, store=tmp_path/'a.db'), 'fn=3'),
            (lambda: sweep(square, dict(x=[1]), store=tmp_path/'a.db', name=3), 'name=3'),
            (lambda: sweep(square, dict(x=[1]), store=None), 'store=None'),
                  (lambda: sweep(square, dict(x=[1]), store=':memory:'), 'path of a file'),
                  (lambda: plot_sweep(df, 'nope', 'y'), "no column 'nope'"),
                  (lambda: plot_sweep(df, 'y', 'y'), 'both'),
                  (lambda: over_seeds(df.assign(s='a'), 'x', 's'), 'no numbers')):
        with pytest.raises(ValueError, match=msg): f()
    # from left to right, whatever the order of the grid
    assert list(plot_sweep(df, 'x', 'y').axes[0].containers[0].lines[0].get_xdata())==[1, 2]
    with sqlite3.connect(tmp_path/'a.db') as db:
        db.execute("UPDATE runs SET result='{broken' WHERE cell LIKE '%1%'")
    with pytest.raises(ValueError, match='is damaged'):
        sweep(square, dict(x=[2, 1]), store=tmp_path/'a.db', n_jobs=0, **quiet)

def test_the_line_that_names_the_exception():
    from forgetprune.commands import _what_failed
    try:
        try: raise ZeroDivisionError
        except ZeroDivisionError as e: raise KeyError('a\n  b') from e
    except KeyError: assert _what_failed(__import__('traceback').format_exc()).startswith(
        'KeyError')
    assert (
        _what_failed('the process of this run died: one\n\nDetailed tracebacks ...')
        == 'the process of this run died: one'
    )

@pytest.mark.slow
def test_the_command_says_why_runs_failed_and_writes_json(tmp_path, monkeypatch):
    (tmp_path/'toy.py').write_text("""def f(x, seed):
    if x==3: raise RuntimeError('three is too much\\nby far')
    return dict(y=float('nan') if x==1 else x, many=[1., float('nan')])
class K:
    def __call__(self, x, seed): return dict(y=x)
k = K()
""")
    def run(text, *args):
        (tmp_path/'c.toml').write_text(text)
        return here(tmp_path, monkeypatch, 'sweep', 'c.toml', '--store', 's.db', '--jobs', '1',
            *args)
    r = run('experiment = "toy:f"\n[grid]\nx = [1, 2, 3]')
    assert r.returncode == 1 and '1 failed: RuntimeError: three is too much' in r.stderr
    assert '--resume' in r.stderr
    r = run('experiment = "toy:f"\n[grid]\nx = [1, 2]', '--resume', '--json')
    # only what was asked for, and no NaN
    assert [row['y'] for row in json.loads(r.stdout, parse_constant=lambda v: 1/0)]==[None, 2]
    assert json.loads(r.stdout)[0]['many']==[1, None] and '1 of' not in r.stdout
    assert 'add name' in run('experiment = "toy:k"\n[grid]\nx = [1]', '--resume').stderr
    assert 'name = 3' in run('experiment = "toy:f"\nname = 3\n[grid]\nx = [1]').stderr

@pytest.mark.slow
def test_json_is_all_that_is_on_stdout(tmp_path):
    "Whatever prints: the module, a run, a program that it starts, a write past Python"
    (tmp_path/'noisy.py').write_text("""import os, subprocess, sys
print('imported')
def f(x, seed):
    print('run'); os.write(1, b'past Python')
    sys.__stdout__.write('the real one'); sys.__stdout__.flush()
    subprocess.run(['echo', 'a program'])
    if x==2: os._exit(3)
    return dict(y=x)
""")
    (tmp_path/'c.toml').write_text('experiment = "noisy:f"\n[grid]\nx = [1, 2, 3]')
    for jobs in ('1', '2'):
        r = subprocess.run([sys.executable, '-c', 'from forgetprune.cli import main; main()',
            'sweep', 'c.toml', '--store', f'{jobs}.db', '--jobs', jobs, '--json'], cwd=tmp_path,
            capture_output=True, text=True)
        rows = json.loads(r.stdout)
        assert r.returncode==1 and [row['y'] for row in rows]==[1, None, 3]
        assert 'died' in rows[1]['error'] and 'past Python' in r.stderr and 'Trace' not in r.stderr
