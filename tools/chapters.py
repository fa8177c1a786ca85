"The notebooks: their cells, modules and order. For `full.py`, `blog.py` and the tests"
import json, re
from pathlib import Path

repo = Path(__file__).resolve().parents[1]
nbs = repo/'nbs'

def cells(
    nb # path of a notebook
)->list: # of dicts
    "The cells of a notebook"
    return json.loads(nb.read_text(encoding='utf-8'))['cells']

def source(cell): return ''.join(cell['source'])

def module_of(
    nb # path of a notebook
): # its name; None if the notebook exports nothing
    "The module that a notebook writes"
    found = (re.match(r'#\|\s*default_exp (\w+)\s*$', source(c)) for c in cells(nb))
    return next((m[1] for m in found if m), None)

def listed(
    folder=nbs # of the notebooks
)->list: # of (part, name of a notebook without its ending)
    "The chapters as the tables of the index have them"
    index,part,res = '\n'.join(map(source, cells(folder/'index.ipynb'))),None,[]
    for heading,name in re.findall(r'^### (.*)$|^\| \[.*?\]\((\d\d\w*)\.ipynb\)', index, re.M):
        if heading: part = heading
        else: res.append((part, name))
    return res

def named(
    word:str, # name of a notebook with or without its number, its number, or its module
    folder=nbs # of the notebooks
)->list: # names without ending; empty if there is none
    "The notebooks that `word` means"
    all_nbs = sorted(folder.glob('*.ipynb'))
    return [p.stem for p in all_nbs if word and word in (p.stem, p.stem.split('_')[0],
        p.stem.partition('_')[2], module_of(p))]
