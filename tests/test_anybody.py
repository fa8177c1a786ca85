"Networks and loaders of anybody: fastai, PyTorch, Transformers, with real files"
import copy, random
from contextlib import contextmanager
import numpy as np, pandas as pd, pytest, torch
from fastai.basics import CrossEntropyLossFlat, DataLoaders, Learner, Normalize
from PIL import Image, UnidentifiedImageError
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader as TorchDL, TensorDataset, WeightedRandomSampler
from conftest import same_state
from forgetprune.channels import forget_channels
from forgetprune.classes import class_split, class_numbers, vocab_of, without
from forgetprune.chains import CachedInputs
from forgetprune.curve import naive_curve, prune_curve
from forgetprune.forget import forget
from forgetprune.layers import inner, linears
from forgetprune.loaders import Kept, batches, in_memory, n_items
from forgetprune.rivals import criteria
from forgetprune.scores import class_difference, class_means, maav_difference
from forgetprune.watch import class_accuracies, outputs_on
from forgetprune.wiring import heads_of

def quiet(learn, *args):
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(*args)
    return learn

def randomness(): return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

def of_loader(dl):
    "All that a loader of fastai or PyTorch remembers, and its transforms"
    res = [vars(dl).copy()]
    for name in ('after_item', 'before_batch', 'after_batch'):
        p = getattr(dl, name, None)
        if hasattr(p, 'fs'): res += [vars(p).copy(), *(vars(f).copy() for f in p.fs)]
    data = getattr(dl, 'dataset', None)
    res.append(dict(split=getattr(data, 'split_idx', None)))
    if getattr(dl, 'generator', None) is not None: res.append(dict(g=dl.generator.get_state()))
    if hasattr(dl, 'rng'): res.append(dict(rng=dl.rng.getstate()))
    return res

def same(a, b):
    if isinstance(a, torch.Tensor): return torch.equal(a, b)
    return a is b or bool(np.all(a==b))

@contextmanager
def untouched(model, *loaders, weights=True):
    "Modes, hooks, loaders, transforms and random states are the same afterwards; and the weights"
    state,modes = copy.deepcopy(model.state_dict()),[m.training for m in model.modules()]
    seen,rand = [of_loader(dl) for dl in loaders],randomness()
    try: yield
    finally:
        if weights: assert same_state(model.state_dict(), state)
        assert [m.training for m in model.modules()]==modes
        assert not any(m._forward_hooks for m in model.modules())
        assert all(same(a, b) for a,b in zip(rand, randomness()))
        for before,dl in zip(seen, loaders):
            after = of_loader(dl)
            for x,y in zip(before, after):
                ours = {'_n_inp', '_types'} # which fastai finds out when first asked
                assert set(x)-ours==set(y)-ours
                other = [k for k in set(x)-ours if not same(x[k], y[k])]
                assert not other, other

def check(res, model, state, random_keeps=0.6, word='weights'):
    "At the goal, within the budget, the random cut not; and undone exactly"
    v = res.table['validation']
    assert res.reached and len(res.cut), res
    assert v.retain['as trained'] > 0.6 # it is no network that says the class whatever it sees
    assert v.target['cut'] <= res.goal < v.target['as trained']
    assert v.retain['cut'] >= v.retain['as trained']-res.budget
    assert v.target[f'random {word}'] >= random_keeps
    assert not v.isna().any().any() and repr(res)
    res.cut.undo(model)
    assert same_state(model.state_dict(), state)

# ---- pictures in folders

def pictures(path, names=('0', '3', '7', '8'), n=60):
    "Digits in colour, sixteen pixels wide, in folders by class"
    d = load_digits()
    for part,some in (('train', slice(n)), ('valid', slice(n, n+25))):
        for c in names:
            (path/part/c).mkdir(parents=True)
            for i,im in enumerate(d.images[d.target==int(c)][some]):
                g = (im*15.9).astype('uint8')
                rgb = Image.fromarray(np.stack([g, 255-g, g//2+60], 2))
                rgb.resize((16, 16)).save(path/part/c/f'{i}.png')
    return path

def small_cnn(n=4):
    def conv(i, o): return nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU()
    return nn.Sequential(*conv(3, 16), *conv(16, 32), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(),
        nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, n))

def image_dls(path, **kwargs):
    from fastai.vision.all import ImageDataLoaders, RandomResizedCrop, aug_transforms
    from fastai.vision.core import imagenet_stats
    augment = aug_transforms(do_flip=False, max_rotate=5)
    return ImageDataLoaders.from_folder(path, valid='valid', bs=32, num_workers=0, device='cpu',
        item_tfms=RandomResizedCrop(16, min_scale=0.8),
        batch_tfms=[*augment, Normalize.from_stats(*imagenet_stats)], **kwargs)

@pytest.fixture(scope='module')
def folder(tmp_path_factory): return pictures(tmp_path_factory.mktemp('digits'))

@pytest.fixture(scope='module')
def _seeing(folder):
    torch.manual_seed(1); np.random.seed(1); random.seed(1)
    learn = quiet(Learner(image_dls(folder), small_cnn(), loss_func=CrossEntropyLossFlat()), 6,
        1e-2)
    return learn.model.state_dict()

@pytest.fixture
def seeing(folder, _seeing):
    "A learner that knows its pictures"
    learn = Learner(image_dls(folder), small_cnn(), loss_func=CrossEntropyLossFlat())
    learn.model.load_state_dict(_seeing)
    return learn

@pytest.mark.parametrize('target,name', [('7', '7'), (2, '7'), (['3', '8'], '3, 8'),
    ([1, 3], '3, 8')])
def test_pictures(seeing, target, name):
    state = copy.deepcopy(seeing.model.state_dict())
    with untouched(seeing.model, *seeing.dls.loaders, weights=False):
        res = seeing.forget(target, budget=0.05, progress=False)
    assert res.name==name and name in repr(res)
    assert res.target in (2, (1, 3))
    assert class_accuracies(seeing.model, seeing.dls.valid, res.target)==tuple(
        res.table['validation'].loc['cut'])
    check(res, seeing.model, state)

@pytest.mark.parametrize('criterion', ['contribution', 'activation'])
def test_whole_channels_of_pictures(seeing, criterion):
    state = copy.deepcopy(seeing.model.state_dict())
    with untouched(seeing.model, *seeing.dls.loaders, weights=False):
        res = seeing.forget_channels('7', criterion=criterion, budget=0.05, progress=False)
    assert res.name=='7' and 'channels)' in repr(res) and 0 < res.k < 1
    assert class_accuracies(seeing.model, seeing.dls.valid, 2)==tuple(
        res.table['validation'].loc['cut'])
    check(res, seeing.model, state, word='channels')

def test_a_picture_transformer():
    tv = pytest.importorskip('torchvision.models')
    m = tv.VisionTransformer(8, 4, 1, 2, 16, 24, num_classes=3).eval()
    torch.manual_seed(0)
    y = torch.arange(30)%3
    dl = TorchDL(TensorDataset(torch.rand(30, 3, 8, 8)+y[:,None,None,None], y), 10)
    state = copy.deepcopy(m.state_dict())
    for f,how in ((forget, dict(k=5)), (forget_channels, dict(share=0.25)),
            (forget_channels, dict(share=0.5, there=heads_of(m)))):
        res = f(m, dl, dl, 1, progress=False, **how)
        assert len(res.cut)
        res.cut.undo(m)
        for n,t in m.state_dict().items(): assert torch.equal(t, state[n])

def test_names_and_numbers_are_told_apart(seeing):
    with untouched(seeing.model, *seeing.dls.loaders):
        for target,said in (('boot', "'boot' is unknown; the classes there are 0, 3, 7, 8"),
                (7, "'7' is the name of class 2"), (['0', '3', '7', '8'], 'all there are'),
                ([], 'empty'), (True, 'of type bool'), (['7', 'x'], "'x' is unknown")):
            with pytest.raises(ValueError, match=said): seeing.forget(target, progress=False)

def test_scores_are_taken_without_augmentation(seeing):
    with untouched(seeing.model, *seeing.dls.loaders):
        a,b = [torch.cat([x for x,_ in batches(seeing.dls.train)]) for _ in range(2)]
    assert torch.equal(a, b) and len(a)==240 and type(a) is torch.Tensor
    assert a.min() < -1 # normalised
    augmented = torch.cat([x for x,_ in seeing.dls.train])
    assert len(augmented) < len(a) # fastai drops the last batch

def test_one_pass_over_the_pictures_scores_all_classes(seeing, monkeypatch):
    model,dl,layers = seeing.model,seeing.dls.train,inner(seeing.model)
    means = class_means(model, dl, layers)
    held = in_memory(dl)
    assert len(held.dataset)==240
    for c in (2, (1, 3)):
        one,two = class_difference(means, c),maav_difference(model, *class_split(held, c), layers)
        streamed = maav_difference(model, *class_split(dl, c), layers)
        for n in layers:
            tol = 1e-5*two[n].abs().max()
            assert (one[n]-two[n]).abs().max() < tol and (streamed[n]-two[n]).abs().max() < tol
    reads = []
    old = type(dl.dataset).__getitem__
    monkeypatch.setattr(type(dl.dataset), '__getitem__', lambda s, i: reads.append(1) or old(s, i))
    seeing.forget('7', k=100, progress=False)
    assert len(reads)==240+100 # each picture for training and for validation once

@pytest.mark.parametrize('criterion', [c for c in criteria if c!='maav_difference'])
def test_every_criterion_reads_pictures(seeing, criterion):
    with untouched(seeing.model, *seeing.dls.loaders, weights=False):
        res = seeing.forget('7', k=50, criterion=criterion, progress=False)
    assert set(res.cut.indices)=={'3', '7', '9'} and len(res.cut)==150

def test_an_error_in_the_middle_is_told_as_it_is(folder, tmp_path, _seeing):
    for f in folder.rglob('*.png'):
        to = tmp_path/f.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(f.read_bytes())
    learn = Learner(image_dls(tmp_path), small_cnn(), loss_func=CrossEntropyLossFlat())
    learn.model.load_state_dict(_seeing)
    (tmp_path/'train'/'8'/'3.png').write_text('no picture')
    with untouched(learn.model, *learn.dls.loaders):
        with pytest.raises(UnidentifiedImageError): learn.forget('7', progress=False)
    (tmp_path/'train'/'8'/'3.png').write_bytes((tmp_path/'train'/'8'/'4.png').read_bytes())
    def stop(*args): raise KeyboardInterrupt
    with untouched(learn.model, *learn.dls.loaders):
        with pytest.raises(KeyboardInterrupt):
            learn.forget('7', criterion=lambda m, t, r, layers: [stop() for _ in t], progress=False)

def test_a_learner_trains_without_a_class(seeing):
    less = without(seeing.dls, '7')
    assert type(less.train) is type(seeing.dls.train) and less.without==2
    assert less.vocab==seeing.dls.vocab and len(less.train_ds)==180 and len(less.valid_ds)==100
    assert {int(c) for _,y in less.train for c in y}=={0, 1, 3}
    torch.manual_seed(0)
    gold = quiet(Learner(less, small_cnn(), loss_func=CrossEntropyLossFlat()), 5, 1e-2)
    knows,others = class_accuracies(gold.model, less.valid, 2)
    assert knows==0 and others > 0.8

def test_pictures_that_are_learned_without_end_are_not_held(seeing):
    "Where validation data take more room than there is, they are read again, and nothing changes"
    model,scores = seeing.model,maav_difference(seeing.model, *class_split(seeing.dls.train, 2))
    a = prune_curve(model, scores, [0, 100, 400], seeing.dls.valid, 2)
    b = prune_curve(model, scores, [0, 100, 400], Kept(seeing.dls.valid, most=1000), 2)
    c = naive_curve(model, scores, [0, 100, 400], seeing.dls.valid, 2)
    assert a.equals(b) and a.equals(c)

@pytest.mark.slow
def test_vision_learner(folder):
    from fastai.vision.all import resnet18, vision_learner
    torch.manual_seed(0)
    learn = quiet(vision_learner(image_dls(folder), resnet18, pretrained=False), 8, 5e-3)
    state = copy.deepcopy(learn.model.state_dict())
    with untouched(learn.model, *learn.dls.loaders, weights=False):
        res = learn.forget('7', criterion='margin', budget=0.05, progress=False)
    assert len(res.table)==5
    check(res, learn.model, state)

def test_forgetting_twice_and_undoing_in_any_order(seeing):
    m,start = seeing.model,copy.deepcopy(seeing.model.state_dict())
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)):
        cuts = [seeing.forget(c, k=k, criterion=f, progress=False).cut
            for c,k,f in (('7', 400, 'random'), ('3', 300, 'taylor'), ('8', 500, 'random'))]
        for i in order: cuts[i].undo(m)
        assert same_state(m.state_dict(), start)

# ---- tables

def table(path, n=700):
    "The digits 0, 3, 7, 8 as a table: the ink of each place, and how much there is in words"
    d = load_digits()
    at = np.isin(d.target, [0, 3, 7, 8])
    df = pd.DataFrame(d.data[at][:n], columns=[f'p{i}' for i in range(64)])
    df['ink'] = np.where(df.sum(axis=1) > 300, 'much', 'little')
    df['age'] = np.arange(len(df))/10
    df['digit'] = [['nil', '', '', 'three', '', '', '', 'seven', 'eight'][c]
        for c in d.target[at][:n]]
    df.to_csv(path, index=False)
    return path

def table_dls(path, y='digit', **kwargs):
    from fastai.tabular.all import Categorify, FillMissing, TabularDataLoaders
    return TabularDataLoaders.from_csv(path, procs=[Categorify, FillMissing, Normalize],
        cat_names=['ink'], cont_names=[f'p{i}' for i in range(64)], y_names=y, bs=64,
        valid_idx=list(range(500, 700)), device='cpu', **kwargs)

def test_table(tmp_path):
    from fastai.tabular.all import CategoryBlock, tabular_learner
    dls = table_dls(table(tmp_path/'digits.csv'), y_block=CategoryBlock())
    learn = quiet(tabular_learner(dls, layers=[80, 60, 40]), 5, 1e-2)
    (x,y),state = next(batches(dls.train)),copy.deepcopy(learn.model.state_dict())
    assert len(x)==2 and n_items(x)==64 and y.shape==(64, 1)
    with untouched(learn.model, *dls.loaders, weights=False):
        res = learn.forget('seven', budget=0.05, progress=False)
    assert res.name=='seven'
    check(res, learn.model, state)
    both = learn.forget(['seven', 'nil'], criterion='taylor', k=100, progress=False)
    assert both.target==(1, 2)
    both.cut.undo(learn.model)
    less = without(dls, 'seven')
    assert {int(c) for b in less.train for c in b[-1]}=={0, 1, 3} and len(less.valid_ds)==200
    gold = quiet(tabular_learner(less, layers=[80, 60]), 3, 1e-2)
    assert class_accuracies(gold.model, dls.valid, 2)[0]==0

def test_regression_is_refused(tmp_path):
    from fastai.tabular.all import tabular_learner
    learn = tabular_learner(table_dls(table(tmp_path/'digits.csv'), y='age'), layers=[20, 10])
    with pytest.raises(ValueError, match='regression.*train a classifier'):
        learn.forget(0, progress=False)

# ---- texts

topics = dict(sea='wave tide boat salt fish', wood='leaf bark moss deer pine',
    town='tram shop lamp roof street')
fill = 'the a of and with near old new long this that'.split()

def texts(n=360, seed=0):
    "Short made-up texts of three topics"
    rng,rows = np.random.RandomState(seed),[]
    for i in range(n):
        topic = list(topics)[i%3]
        words = [*rng.choice(fill, rng.randint(3, 9)), *rng.choice(topics[topic].split(), 3)]
        rows.append((' '.join(rng.permutation(words)), topic, i >= n*3//4))
    return pd.DataFrame(rows, columns=['text', 'label', 'is_valid'])

class Bag(nn.Module):
    "The mean of the words' vectors, and layers above it"
    def __init__(self, n_words, n, pad):
        super().__init__()
        self.pad,self.words = pad,nn.Embedding(n_words, 24)
        self.layers = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 40), nn.ReLU(),
            nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, n))
    def forward(self, x):
        real = (x!=self.pad)[...,None]
        return self.layers((self.words(x)*real).sum(1)/real.sum(1))

def text_dls(path):
    from fastai.text.all import BaseTokenizer, TextDataLoaders
    texts().to_csv(path/'texts.csv', index=False)
    return TextDataLoaders.from_csv(path, 'texts.csv', text_col='text', label_col='label',
        valid_col='is_valid', bs=32, device='cpu', num_workers=0, seq_len=16,
        tok_tfm=BaseTokenizer())

def test_texts(tmp_path):
    dls = text_dls(tmp_path)
    assert vocab_of(dls)==['sea', 'town', 'wood']
    learn = quiet(Learner(dls, Bag(len(dls.vocab[0]), 3, 1), loss_func=CrossEntropyLossFlat()), 8,
        1e-2)
    state = copy.deepcopy(learn.model.state_dict())
    with untouched(learn.model, *dls.loaders, weights=False):
        res = learn.forget('wood', budget=0.05, progress=False)
    check(res, learn.model, state)
    less = without(dls, 'wood')
    assert {int(c) for _,y in less.train for c in y}=={0, 1} and len(less.train_ds)==180
    gold = quiet(Learner(less, Bag(len(dls.vocab[0]), 3, 1), loss_func=CrossEntropyLossFlat()), 4,
        1e-2)
    assert class_accuracies(gold.model, dls.valid, 2)[0]==0

def test_text_classifier_learner(tmp_path):
    "fastai's own; it answers with several tensors"
    from fastai.text.all import AWD_LSTM, awd_lstm_clas_config, text_classifier_learner
    dls = text_dls(tmp_path)
    config = dict(awd_lstm_clas_config, emb_sz=24, n_hid=32, n_layers=1)
    torch.manual_seed(0)
    learn = quiet(text_classifier_learner(dls, AWD_LSTM, config=config, pretrained=False,
        seq_len=16, lin_ftrs=[30, 20], drop_mult=0.1, ps=[0., 0.]), 8, 2e-2)
    state = copy.deepcopy(learn.model.state_dict())
    assert outputs_on(learn.model, dls.valid)[0].shape==(90, 3)
    for criterion in ('maav_difference', 'taylor'):
        with untouched(learn.model, *dls.loaders, weights=False):
            res = learn.forget('wood', criterion=criterion, budget=0.05, progress=False)
        check(res, learn.model, state)

# ---- PyTorch, with no fastai

def digit_tensors():
    d = load_digits()
    at = np.isin(d.target, [0, 3, 7, 8])
    y = np.searchsorted([0, 3, 7, 8], d.target[at])
    return torch.tensor(d.data[at]/16).float(), torch.tensor(y)

class Takes(nn.Module):
    "Takes a dict's entries by name"
    def __init__(self, net): super().__init__(); self.net = net
    def forward(self, pixels): return self.net(pixels)

class Items(torch.utils.data.Dataset):
    "What a data set of one's own looks like"
    classes = ['nil', 'three', 'seven', 'eight']
    def __init__(self, x, y, form): self.x,self.y,self.form = x,y,form
    def __len__(self): return len(self.x)
    def __getitem__(self, i):
        x,y = self.x[i],int(self.y[i])
        if self.form=='tuple': return x, y
        if self.form=='dict': return dict(pixels=x, label=y, weight=None) # no tensor
        return dict(pixels=x), y

def collated(items):
    from torch.utils.data import default_collate
    if not isinstance(items[0], dict): return default_collate(items)
    return default_collate([{k: v for k,v in i.items() if v is not None} for i in items])

def trained_by_hand(model, dl, epochs=8, lr=3e-3):
    opt = torch.optim.Adam(model.parameters(), lr)
    for _ in range(epochs):
        for x,y in batches(dl):
            out = model(**x) if isinstance(x, dict) else model(x)
            nn.functional.cross_entropy(getattr(out, 'logits', out), y).backward()
            opt.step()
            opt.zero_grad()
    return model

@pytest.mark.parametrize('form', ['tuple', 'dict', 'dict and y'])
def test_pytorch(form):
    x,y = digit_tensors()
    parts = [Items(x[s], y[s], form) for s in (slice(400), slice(400, 560), slice(560, 720))]
    train,valid,test = [TorchDL(p, batch_size=32, shuffle=s, drop_last=s, collate_fn=collated,
        generator=torch.Generator().manual_seed(0)) for p,s in zip(parts, (True, False, False))]
    net = nn.Sequential(nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 50), nn.ReLU(),
        nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 4))
    model = trained_by_hand(net if form=='tuple' else Takes(net), train)
    state = copy.deepcopy(model.state_dict())
    with untouched(model, train, valid, test, weights=False):
        res = forget(model, train, valid, 'seven', budget=0.05, test=test, progress=False)
    assert res.name=='seven' and res.table['test'].target['cut'] < 0.5
    check(res, model, state)
    res = forget(model, train, valid, 2, criterion='taylor', budget=0.05, goal=0.3, progress=False)
    check(res, model, state)

def test_pytorch_loaders_in_a_learner():
    x,y = digit_tensors()
    train,valid = [TorchDL(TensorDataset(x[s], y[s]), batch_size=32, shuffle=f, drop_last=f)
        for s,f in ((slice(400), True), (slice(400, 560), False))]
    dls = DataLoaders(train, valid, device='cpu')
    net = nn.Sequential(nn.Linear(64, 60), nn.ReLU(), nn.Linear(60, 40), nn.ReLU(),
        nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 4))
    learn = quiet(Learner(dls, net, loss_func=CrossEntropyLossFlat()), 8, 1e-2)
    state = copy.deepcopy(net.state_dict())
    check(learn.forget(2, budget=0.05, progress=False), net, state)
    less = without(dls, 2)
    assert type(less.train) is TorchDL and {int(c) for _,b in less.train for c in b}=={0, 1, 3}
    quiet(Learner(less, net, loss_func=CrossEntropyLossFlat()), 1, 1e-2)

def test_orders_of_ones_own():
    "A loader that draws with replacement is read as it is; its generator is where it was"
    x,y = torch.randn(40, 3),torch.arange(40)%2
    g = torch.Generator().manual_seed(3)
    dl = TorchDL(TensorDataset(x, y), batch_size=8, generator=g,
        sampler=WeightedRandomSampler([1.]*40, 24, generator=g))
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with untouched(model, dl):
        a,b = [torch.cat([y for _,y in batches(dl)]) for _ in range(2)]
    assert torch.equal(a, b) and len(a)==24
    with pytest.raises(ValueError, match='draws its items in a way of its own'):
        without(DataLoaders(dl, dl), 1)

def test_what_can_be_read_once_is_refused():
    x,y = digit_tensors()
    net = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    for i,name in enumerate(('train', 'valid')):
        dls = [[(x, y)], [(x, y)]]
        dls[i] = iter(dls[i])
        with pytest.raises(ValueError, match=f'{name}: a list_iterator cannot be read more'):
            forget(net, *dls, 2, progress=False)

def test_labels_that_are_no_classes_are_refused():
    x,y = digit_tensors()
    net = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    several = nn.functional.one_hot(y)
    for labels,said in ((y.float(), 'regression'), (several, r'several labels.*y\.argmax\(1\)'),
            (several.float(), 'several labels.*two outputs')):
        dl = TorchDL(TensorDataset(x, labels), batch_size=50)
        with untouched(net, dl), pytest.raises(ValueError, match=said):
            forget(net, dl, dl, 2, progress=False)

def test_one_output_is_refused():
    x,y = digit_tensors()
    net = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    dl = TorchDL(TensorDataset(x, y.clamp(max=1)), batch_size=50)
    with pytest.raises(ValueError, match='one output per class'):
        forget(net, dl, dl, 1, progress=False, goal=0.5)

def test_classes_by_number_only():
    assert class_numbers(np.int64(3))==3 and class_numbers(torch.tensor([1, 0]))==(0, 1)
    with pytest.raises(ValueError, match='a name needs a vocabulary'): class_numbers('seven')

# ---- Transformers, made from nothing

def padded_texts(label='labels'):
    "Loaders of token numbers, each batch as long as its longest text"
    df = texts()
    words = {w: i+1 for i,w in enumerate([*fill, *' '.join(topics.values()).split()])}
    ids = [torch.tensor([words[w] for w in t.split()]) for t in df.text]
    y = [list(topics).index(l) for l in df.label]
    def collate(items):
        pad = nn.utils.rnn.pad_sequence
        x = pad([ids[i] for i in items], batch_first=True)
        return {'input_ids': x, 'attention_mask': (x > 0).long(),
            label: torch.tensor([y[i] for i in items])}
    at = df.is_valid.values
    def dl(some, s): return TorchDL(some, batch_size=32, shuffle=s, collate_fn=collate)
    return dl(np.flatnonzero(~at).tolist(), True), dl(np.flatnonzero(at).tolist(), False), words

def test_sequence_classifier():
    T = pytest.importorskip('transformers')
    train,valid,words = padded_texts()
    config = T.BertConfig(vocab_size=len(words)+1, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=48, max_position_embeddings=16, num_labels=3,
        id2label=dict(enumerate(topics)))
    model = trained_by_hand(T.BertForSequenceClassification(config), train, 4, 3e-3)
    assert model.training
    state = copy.deepcopy(model.state_dict())
    with untouched(model, train, valid, weights=False):
        res = forget(model, train, valid, 'wood', budget=0.05, progress=False)
    assert res.name=='wood'
    check(res, model, state)

def test_padding_is_no_text():
    "Means of a padded batch are those of each text alone"
    T = pytest.importorskip('transformers')
    train,_,words = padded_texts()
    config = T.BertConfig(vocab_size=len(words)+1, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=24, max_position_embeddings=16, num_labels=3)
    model = T.BertForSequenceClassification(config)
    layers = inner(model)
    alone = TorchDL(train.dataset, batch_size=1, collate_fn=train.collate_fn)
    a,b = class_means(model, train, layers),class_means(model, alone, layers)
    for n in layers:
        assert torch.equal(a.counts[n], b.counts[n])
        assert torch.allclose(a.means[n], b.means[n], rtol=1e-4, atol=1e-6)

def test_image_classifier():
    T = pytest.importorskip('transformers')
    x,y = digit_tensors()
    x = (x.view(-1, 1, 8, 8)-0.3).expand(-1, 3, -1, -1)
    config = T.ViTConfig(image_size=8, patch_size=4, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=64, num_labels=4)
    def collate(items):
        return dict(pixel_values=torch.stack([i[0] for i in items]),
            labels=torch.stack([i[1] for i in items]))
    train,valid = [TorchDL(TensorDataset(x[s], y[s]), batch_size=32, shuffle=f, collate_fn=collate)
        for s,f in ((slice(500), True), (slice(500, 720), False))]
    model = trained_by_hand(T.ViTForImageClassification(config), train, 12, 3e-3)
    state = copy.deepcopy(model.state_dict())
    with untouched(model, train, valid, weights=False):
        res = forget(model, train, valid, 2, budget=0.05, progress=False)
    check(res, model, state)

def test_the_fast_curve_and_the_naive_one_agree_on_any_loader():
    x,y = digit_tensors()
    dl = TorchDL(TensorDataset(x, y), batch_size=64, shuffle=True)
    net = nn.Sequential(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(),
        nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 4))
    net = trained_by_hand(net, dl, 3)
    ks = [0, 10, 100, 300, 400]
    for target in (2, (0, 2)):
        scores = maav_difference(net, *class_split(dl, target))
        want = naive_curve(net, scores, ks, dl, target)
        assert prune_curve(net, scores, ks, dl, target).equals(want)
        cache = CachedInputs(net, dl)
        assert not cache.a_pass_per_level(scores) and cache.a_pass_per_level(linears(Takes(net)))
