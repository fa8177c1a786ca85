import functools, http.server, os, random, shutil, signal, sys, threading
from contextlib import contextmanager
from pathlib import Path
# on the processor wherever there is a graphics card, but for tests of that; before torch looks
if not any('test_gpu' in a for a in sys.argv): os.environ['CUDA_VISIBLE_DEVICES'] = ''
import numpy as np, pytest, torch
from filelock import FileLock
sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tools'))
from chapters import module_of, named, nbs
from fastai.basics import Callback
from forgetprune.classes import class_split
from forgetprune.data import get_dls
from forgetprune.training import get_learner

# a shell that starts tests in the background has it ignored, and children would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# the tests of modules that have no file of tests by their name
tested_in = dict(basics='data', loaders='anybody', classes='data', tracing='channels',
    kinds='layers', references='audit', sizing='forget', controls='forget',
    figures='outputs', networks='layers', training='data',
    watch='scores', blocks='magnitudes', neurons='magnitudes', wiring='channels', rows='golds',
    tuning='audit', rivals='scores', relearn='audit', pruning='magnitudes',
    published='magnitudes', retrain='decay', experiments='sweep', report='pages',
    commands='cli', subjects='folders', forget_command='cli', audit_command='cli',
    recycle_command='cli', selectors='recycle')

def pytest_addoption(parser):
    parser.addoption('--chapter', metavar='NAME',
        help='run one notebook (its module, its file name, or its number) and its tests, but for '
             'those marked slow')
    parser.addoption('--with-slow', action='store_true', help='with --chapter: slow tests too')

def pytest_xdist_auto_num_workers(config):
    "A process more than cores: at any time some tests wait for a browser or for processes"
    return os.cpu_count()+1

def chapter(config):
    "What --chapter names: notebooks (stems) and files of tests; None without it"
    name = config.getoption('--chapter')
    return _chapter(name) if name else None

@functools.cache # notebooks are large, and are asked for with every file
def _chapter(name):
    here,found = Path(__file__).parent,named(name)
    if not found:
        there = ', '.join(module_of(nb) or nb.stem for nb in sorted(nbs.glob('*.ipynb')))
        raise pytest.UsageError(f'--chapter {name}: there is no such chapter; there are {there}')
    mods = {module_of(nbs/f'{s}.ipynb') for s in found}-{None}
    own = {m: here/f'test_{m}.py' for m in mods}
    return found, {f.name if f.exists() else f'test_{tested_in[m]}.py' for m,f in own.items()
        if f.exists() or m in tested_in}

def pytest_ignore_collect(collection_path, config):
    "With --chapter, other files of tests are not even read"
    if collection_path.suffix!='.py' or not (only := chapter(config)): return None
    return collection_path.name not in {*only[1], 'test_notebooks.py', 'conftest.py'} or None

def pytest_collection_modifyitems(config, items):
    "Mark what needs a browser; with --chapter, keep its notebook and the tests of its module"
    for i in items:
        if 'browser' in i.fixturenames: i.add_marker('browser')
    if not (only := chapter(config)): return
    ids = {f'test_runs[{s}]' for s in only[0]}
    left_out = lambda i: i.get_closest_marker('slow') and not config.getoption('--with-slow')
    tests = [i for i in items if i.path.name in only[1]]
    kept = [i for i in items if i.name in ids or i in tests and not left_out(i)]
    config.stash[slow_left_out] = sum(i not in kept for i in tests)
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = kept

slow_left_out = pytest.StashKey()

def pytest_report_collectionfinish(config):
    if not (n := config.stash.get(slow_left_out, 0)): return []
    return f'{n} slow tests of this chapter left out; make test CH=... ARGS=--with-slow runs them'

@pytest.fixture(autouse=True)
def same_numbers_each_time():
    random.seed(0); np.random.seed(0); torch.manual_seed(0)
    # a library that another test has loaded may have rounded tiny numbers to zero in this process
    torch.set_flush_denormal(False)

@pytest.fixture(scope='session')
def made_once(tmp_path_factory, worker_id):
    "made_once(name, make): a folder that one process makes for all, by make(folder)"
    base = tmp_path_factory.getbasetemp() # xdist: a folder per process, in a common one
    def f(name, make):
        folder = (base if worker_id=='master' else base.parent)/name
        with FileLock(f'{folder}.lock'):
            if not folder.exists(): make(folder)
        return folder
    return f

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

# one for all tests: two of them in one process would not do
chromium = os.environ.get('CHROMIUM') or next(filter(None,
    map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
flags = ('--no-sandbox --disable-gpu --disable-quic --no-first-run '
    '--disable-background-networking --disable-component-update --disable-sync').split()

@pytest.fixture(scope='session')
def browser():
    api = pytest.importorskip('playwright.sync_api')
    if not chromium:
        pytest.skip('no Chromium here; install one (Debian: chromium) or name it in CHROMIUM')
    with api.sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium, args=flags)
        yield b
        b.close()

@contextmanager
def served(folder):
    "The address at which a folder is served meanwhile"
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet,
            directory=str(folder))) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{s.server_port}/'
        s.shutdown()

class Cpu16(Callback):
    "bfloat16 autocast on the CPU, as MixedPrecision does on a GPU"
    order = 10
    def before_batch(self): self.ctx = torch.autocast('cpu', torch.bfloat16); self.ctx.__enter__()
    def after_pred(self): self.learn.pred = self.pred.float()
    def after_loss(self): self.ctx.__exit__(None, None, None)

def same_state(a, b): return list(a)==list(b) and all(torch.equal(a[k], b[k]) for k in a)
