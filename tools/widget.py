"""Try it in the page: a small network whose weights the reader cuts and which learns again, in
plain JavaScript (`blog/widget.js`) over numbers that the library's own functions make here.

`widget(html)` puts it into the pages of a built site that have a place for it: an element with the
id `fp-widget`, which holds a figure for readers without JavaScript.
"""
import base64, copy, gzip, hashlib, itertools, json, re, shutil
from pathlib import Path
import numpy as np

repo = Path(__file__).resolve().parents[1]
target = 7
sizes = 784, 400, 300, 150, 10
most_cut,step = 3000,50 # from each of the two inner layers
n_target,n_others = 20,100 # test images of the class, and of others, that networks are judged by
bs,n_batches = 32,20 # of what is taught; passes over it, and the goal, as a share of `n_target`
passes,goal = 12,0.9
levels = 63 # weights are rounded to so many steps on either side of zero
place = re.compile(r'<div id="fp-widget"[^>]*>')

def networks():
    "The data; the network, and gold, as the library trains or finds them"
    from forgetprune.data import get_dls
    from forgetprune.outputs import get_gold
    from forgetprune.training import get_learner, train
    learn = get_learner(get_dls('mnist', seed=0), dict(name='mlp', sizes=sizes), seed=0)
    with learn.no_bar(), learn.no_logging(): train(learn)
    return learn, get_gold(learn, target, progress=False)

def rounded(*models):
    "Copies with the weights rounded to a grid of the layer, which they share; the grids' steps"
    from forgetprune.layers import linears
    models = [copy.deepcopy(m).eval() for m in models]
    grids = []
    for layers in zip(*(linears(m).values() for m in models)):
        grid = max(l.weight.detach().abs().max() for l in layers)/levels
        for l in layers: l.weight.data = (l.weight.data/grid).round()*grid
        grids.append(grid.item())
    return *models, grids

def scores(model, dls):
    "By MAAV, and at random (the control)"
    from forgetprune.classes import class_split
    from forgetprune.rivals import get_scores
    parts = class_split(dls.train, target)
    return {c: get_scores(c, model, *parts) for c in ('maav_difference', 'random')}

def looked_at(dls):
    "The first test images of the class, and the first of all others: pairs of images and classes"
    x,y = dls.test.tensors
    t = y==target
    return (x[t][:n_target], y[t][:n_target]), (x[~t][:n_others], y[~t][:n_others])

def lessons(dls):
    "The images that `relearn` shows first, as they come"
    from forgetprune.data import TensorDL
    dl = TensorDL(dls.train.dataset, bs=bs, shuffle=True, drop_last=True, seed=1)
    xs,ys = zip(*itertools.islice(dl, n_batches))
    return np.concatenate(xs), np.concatenate(ys)

def picks(dls):
    "The first test image of each digit"
    x,y = dls.test.tensors
    return [x[y==c][0] for c in range(10)]

def order(s):
    "Places of the largest scores, the largest first, counted along the columns of the weight"
    first = s.flatten().argsort(descending=True, stable=True)[:most_cut].numpy()
    row,col = np.divmod(first, s.shape[1])
    return (col*s.shape[0]+row).astype('<u4')

def steps_of(w, grid): # inputs first, so that an input that is dark is skipped
    "The weight as whole numbers of its grid"
    return (w.detach().T/grid).round().numpy().astype(np.int8)

def parts(learn, gold):
    "All that the page holds: numbers and texts, and arrays by name"
    from forgetprune.layers import linears
    net,gold,grids = rounded(learn.model, gold)
    has = {}
    for i,(a,b,grid) in enumerate(zip(linears(net).values(), linears(gold).values(), grids)):
        has[f'w{i}'],g = steps_of(a.weight, grid),steps_of(b.weight, grid)
        has[f'gold_w{i}'] = g-has[f'w{i}'] # both start from the same weights: small numbers
        for n,l in (('b', a), ('gold_b', b)):
            has[f'{n}{i}'] = l.bias.detach().numpy().astype('<f4')
    names = list(linears(net))
    for criterion,s in scores(net, learn.dls).items():
        for n,v in s.items(): has[f'{criterion}{names.index(n)}'] = order(v)
    grey = lambda x: (255*np.asarray(x)).round().astype(np.uint8).reshape(-1, sizes[0])
    (sevens,_),(others,classes) = looked_at(learn.dls)
    taught,taught_classes = lessons(learn.dls)
    has |= dict(target=grey(sevens), others=grey(others), classes=classes.numpy().astype(np.uint8),
        taught=grey(taught), taught_classes=taught_classes.astype(np.uint8),
        picks=grey(np.stack(picks(learn.dls))))
    inner = [i for i in range(len(grids)) if f'random{i}' in has]
    said = dict(sizes=sizes, grids=grids, inner=inner, digit=target, most_cut=most_cut, step=step,
        bs=bs, passes=passes, goal=goal)
    return said, has

def packed(said, has):
    "A script that hands the page its numbers; a script is read from the file system too"
    at,raw = {},b''
    for n,a in has.items():
        at[n] = dict(type=a.dtype.str[1:], at=len(raw), size=a.nbytes)
        raw += a.tobytes()
    head = json.dumps(dict(said, parts=at)).encode()
    body = gzip.compress(len(head).to_bytes(4, 'little')+head+raw, 9, mtime=0)
    return f'fpWidget("{base64.b64encode(body).decode()}")\n'

def widget(
    html # folder of a built site
):
    "Put the widget where a page has a place for it; without data pages keep their figures"
    html = Path(html)
    pages = [p for p in html.rglob('*.html') if place.search(p.read_text(encoding='utf-8'))]
    if not pages: return []
    from forgetprune.data import DataError
    print('the widget; its networks are trained the first time, about a minute')
    try: made = packed(*parts(*networks()))
    except DataError as e:
        print(f'no widget, since there are no data to train its network on ({e}); pages show '
            'their figures instead')
        return []
    static = html/'_static'
    static.mkdir(exist_ok=True)
    (static/'widget-data.js').write_text(made, encoding='ascii')
    for n in ('widget.js', 'widget.css'): shutil.copy(repo/'blog'/n, static/n)
    mark = lambda f: f'{f.name}?v={hashlib.sha256(f.read_bytes()).hexdigest()[:8]}'
    for p in pages:
        up = '../'*(len(p.relative_to(html).parts)-1)+'_static/'
        tags = (f'<link rel="stylesheet" href="{up}{mark(static/"widget.css")}">'
            f'<script defer src="{up}{mark(static/"widget.js")}" '
            f'data-numbers="{mark(static/"widget-data.js")}"></script>')
        text = p.read_text(encoding='utf-8').replace('</head>', tags+'</head>', 1)
        p.write_text(text, encoding='utf-8')
    return pages
