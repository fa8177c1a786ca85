import signal, subprocess, sys, textwrap
import pytest, torch
from fastai.basics import Datasets, Transform
from torch.utils.data import DataLoader as TorchDL, TensorDataset
from forgetprune import data as D
from forgetprune.classes import *
from forgetprune.data import *
from forgetprune.loaders import Kept

@pytest.fixture
def offline_source(monkeypatch):
    "Two tiny files instead of MNIST, delivered by a source that a test controls"
    good = {n: f'contents of {n}'.encode() for n in D.idx_files}
    import hashlib
    monkeypatch.setitem(D.md5s, 'mnist', {n: hashlib.md5(b).hexdigest() for n,b in good.items()})
    def source(name, tmp):
        for n,b in good.items(): (tmp/n).write_bytes(b)
        return tmp
    monkeypatch.setitem(D.sources, 'mnist', (source,))
    return good

def files(p): return sorted(f.name for f in p.rglob('*') if f.is_file())

def test_fetch_and_reuse(tmp_path, offline_source, monkeypatch):
    folder = D.fetch('mnist', tmp_path)
    assert files(tmp_path)==sorted(offline_source)
    monkeypatch.setitem(D.sources, 'mnist', ())
    assert D.fetch('mnist', tmp_path)==folder # nothing is needed any more

def test_only_missing_files_are_written(tmp_path, offline_source):
    folder = D.fetch('mnist', tmp_path)
    (folder/D.idx_files[0]).unlink()
    kept = (folder/D.idx_files[1]).stat().st_mtime_ns
    D.fetch('mnist', tmp_path)
    assert (folder/D.idx_files[1]).stat().st_mtime_ns==kept
    assert files(tmp_path)==sorted(offline_source)

@pytest.mark.parametrize('bad', [b'', b'contents of tr', b'something else altogether'])
def test_damaged_file_is_named_and_kept(tmp_path, offline_source, bad):
    folder = D.fetch('mnist', tmp_path)
    p = folder/D.idx_files[0]
    p.write_bytes(bad)
    with pytest.raises(D.DataError, match=f'{p.name} is damaged.*delete it'):
        D.fetch('mnist', tmp_path)
    assert p.read_bytes()==bad

def test_source_that_delivers_damage_is_refused(tmp_path, offline_source, monkeypatch):
    def bad(name, tmp):
        for n in D.idx_files: (tmp/n).write_bytes(b'x')
        return tmp
    def absent(name, tmp): return tmp
    monkeypatch.setitem(D.sources, 'mnist', (bad, absent))
    with pytest.raises(D.DataError, match='could not be fetched.*bad: .*damaged.*absent: it lacks'):
        D.fetch('mnist', tmp_path)
    assert files(tmp_path)==[]

def test_next_source_is_tried(tmp_path, offline_source, monkeypatch):
    def fails(name, tmp): raise OSError('no network')
    monkeypatch.setitem(D.sources, 'mnist', (fails, *D.sources['mnist']))
    D.fetch('mnist', tmp_path)
    assert files(tmp_path)==sorted(offline_source)

@pytest.mark.parametrize('sig', [signal.SIGKILL, signal.SIGINT])
def test_killed_download_leaves_nothing_to_mistake_for_data(tmp_path, sig):
    code = textwrap.dedent('''
        import sys, time
        from forgetprune import data as D
        def slow(name, tmp):
            for n in D.idx_files:
                (tmp/n).write_bytes(b'half')
                print('ready', flush=True)
                time.sleep(60)
            return tmp
        D.sources['mnist'] = (slow,)
        D.fetch('mnist', sys.argv[1])''')
    p = subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    assert p.stdout.readline().strip()==b'ready'
    p.send_signal(sig); p.wait(30)
    assert p.returncode!=0
    raw = tmp_path/'MNIST'/'raw'
    assert D.missing_files(raw, D.md5s['mnist'])==list(D.idx_files)
    if sig==signal.SIGINT: assert files(tmp_path)==[]

def test_data_root(monkeypatch, tmp_path):
    monkeypatch.setenv('FORGETPRUNE_DATA', str(tmp_path))
    assert data_root()==tmp_path and str(data_root('x'))=='x'
    monkeypatch.delenv('FORGETPRUNE_DATA')
    from fastai.data.external import fastai_path
    assert data_root()==fastai_path('data')

def test_real_mnist():
    dls = get_dls('mnist', seed=3)
    assert [len(d.dataset) for d in dls.loaders]==[54_000, 6_000, 10_000]
    assert dls.test.tensors[1][:5].tolist()==[7, 2, 1, 0, 4]
    x = dls.train.tensors[0]
    assert x.shape[1:]==(1, 28, 28) and x.min()==0 and x.max()==1 and x.dtype==torch.float32

def test_splits_are_disjoint_and_seeded():
    a,b,c = (get_dls('digits', seed=s) for s in (0, 0, 1))
    assert torch.equal(a.valid.tensors[0], b.valid.tensors[0])
    assert not torch.equal(a.valid.tensors[0], c.valid.tensors[0])
    assert torch.equal(a.test.tensors[0], c.test.tensors[0])
    rows = [set(map(tuple, l.tensors[0].flatten(1).tolist())) for l in a.loaders]
    assert sum(map(len, rows)) > 1790 and not rows[0] & rows[1] and not rows[0] & rows[2]

@pytest.mark.parametrize('kw,said', [(dict(name='nothing'), "name='nothing'"),
    (dict(valid_pct=0), 'valid_pct=0'), (dict(valid_pct=1.5), 'valid_pct=1.5'),
    (dict(bs=0), 'bs=0')])
def test_bad_arguments(kw, said):
    with pytest.raises(ValueError, match=said): get_dls(**kw)

def test_get_preds_keeps_order(learn):
    "fastai's own machinery works on our loaders"
    p,y = learn.get_preds(dl=learn.dls.train)
    n = len(learn.dls.train.dataset)
    assert len(p)==n and torch.equal(y, learn.dls.train.tensors[1])
    with torch.no_grad():
        assert torch.allclose(p, learn.model(learn.dls.train.tensors[0]), atol=1e-5)

def test_an_unknown_architecture_is_named(digits):
    from forgetprune.training import get_learner
    for arch in (dict(name='foo'), dict(sizes=(64, 10))):
        with pytest.raises(ValueError, match=r"arch\['name'\].*there are mlp, cnn"):
            get_learner(digits, arch)

def test_training_is_reproducible(digits):
    def once():
        from forgetprune.training import get_learner
        l = get_learner(get_dls('digits', seed=5), dict(name='mlp', sizes=(64, 8, 10)), seed=5)
        with l.no_bar(), l.no_logging(): l.fit(2, 0.1)
        return l.model.state_dict()
    a,b = once(),once()
    assert all(torch.equal(a[k], b[k]) for k in a)

def test_class_split_of_foreign_loaders():
    x,y = torch.arange(40.).view(20, 2),torch.arange(20)%4
    for dl in (TorchDL(TensorDataset(x, y), batch_size=6, shuffle=True),
            [(x[:7], y[:7]), (x[7:], y[7:])]):
        t,r = class_split(dl, 2)
        assert sorted(t.tensors[0][:,0].tolist())==sorted(x[y==2][:,0].tolist())
        assert len(r.dataset)==15

def test_class_split_switches_augmentation_off():
    class Noise(Transform):
        split_idx = 0 # training only
        def encodes(self, x:torch.Tensor): return x+100
    ds = Datasets(list(range(20)), [[lambda i: torch.tensor([float(i)])], [lambda i: i%2]],
        splits=[list(range(10)), list(range(10, 20))])
    dls = ds.dataloaders(bs=4, after_batch=[Noise()], device='cpu', num_workers=0, drop_last=True)
    assert dls.train.one_batch()[0].min() >= 100
    t,r = class_split(dls.train, 1)
    assert sorted(t.tensors[0].flatten().tolist())==[1, 3, 5, 7, 9]
    assert sorted(r.tensors[0].flatten().tolist())==[0, 2, 4, 6, 8]

@pytest.mark.parametrize('c', [10, -1, 7.5, 'seven', [3, 'x'], True, None])
def test_absent_class(digits, c):
    with pytest.raises(ValueError, match='the classes there are 0, 1, 2'):
        class_split(digits.valid, c)

def test_absent_class_of_a_loader_without_names():
    x,y = torch.arange(40.).view(20, 2),torch.arange(20)%4
    dl = TorchDL(TensorDataset(x, y), batch_size=6)
    for c,said in ((9, 'no item of dl .* the classes there are 0, 1, 2, 3'), ('cat', 'vocabulary'),
            (1.5, 'give the number of a class')):
        with pytest.raises(ValueError, match=said): list(class_split(dl, c)[0])

def test_split_by_names_and_by_several_classes(digits):
    for c in ('7', ['7'], 7):
        t,r = class_split(digits.valid, c)
        assert t.tensors[1].unique().tolist()==[7] and 7 not in r.tensors[1]
    t,r = class_split(digits.valid, ['3', 8])
    assert set(t.tensors[1].tolist())=={3, 8} and not {3, 8} & set(r.tensors[1].tolist())
    less = without(digits, ['3', '8'])
    assert less.without==(3, 8) and not {3, 8} & set(less.train.tensors[1].tolist())

def test_what_is_read_again_is_kept_only_as_a_whole():
    "A reading that was broken off keeps nothing, and takes no room"
    x = torch.arange(20.)
    dl = TorchDL(TensorDataset(x), batch_size=5)
    kept = Kept(dl, most=80)
    for _ in range(5): next(iter(kept))
    assert kept.kept is None
    for _ in range(2): assert torch.equal(torch.cat([b for b,_ in kept]), x)
    assert len(kept.kept)==4

def test_a_stream_of_unknown_length():
    "Neither its reading nor a progress bar asks for a length"
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self): return iter([(torch.full((2,), float(i)), i%2) for i in range(7)])
    dl = TorchDL(Stream(), batch_size=3)
    t,r = class_split(dl, 1, progress=True)
    assert torch.cat([x for x,_ in t])[:,0].tolist()==[1, 3, 5]
    assert torch.cat([x for x,_ in r])[:,0].tolist()==[0, 2, 4, 6]

def test_only_class():
    with pytest.raises(ValueError, match='every item'):
        class_split([(torch.zeros(3, 1), torch.ones(3).long())], 1)
