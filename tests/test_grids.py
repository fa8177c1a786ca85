"Grids: each run once, and what is no grid is refused"
import pytest
from forgetprune.grids import *

def test_grid_is_the_product_each_once():
    assert len(cells_of(dict(a=[1, 2], b=['x', 'y', 'z']), 4))==24
    assert cells_of([dict(a=1), dict(b=2)], [7])==[dict(a=1, seed=7), dict(b=2, seed=7)]

@pytest.mark.parametrize('grid,seeds,msg', [(dict(a='xy'), 1, 'list of values'),
    (dict(a=3), 1, 'list of values'), (dict(a=[1, 1]), 1, 'comes twice'),
    (dict(a=[]), 1, 'nothing to run'), (dict(a=[1]), 0, 'seeds=0'),
    (dict(a=[1]), 10**9, 'a million'), (dict(a=[1, 1.0]), 1, 'comes twice'), (dict(a=[1, True]), 1,
    'comes twice'), (None, 1, 'grid=None'), ([1], 1, 'grid='), ({1: [2]}, 1, 'grid: 1'),
    (dict(seed=[1]), 1, 'set by seeds'), (dict(a=[object()]), 1, 'cannot be written down')])
def test_bad_grids(grid, seeds, msg):
    with pytest.raises(ValueError, match=msg): cells_of(grid, seeds)

@pytest.mark.parametrize('grid', [dict(error=[1]), dict(seconds=[1])])
def test_names_of_columns_are_taken(grid):
    with pytest.raises(ValueError, match='name of a column'): cells_of(grid)

def test_large_grids_are_quick_to_read():
    assert len(cells_of(dict(a=list(range(200)), b=list(range(100))), 1))==20_000

@pytest.mark.parametrize('text,msg', [('x=', 'not a TOML'), ('experiment=3', 'is needed'),
    ('experiment="forget"\nseeds=0', 'must be how many'), ('experiment="forget"\nfoo=1',
    "'foo' is unknown"), ('experiment="forget"\n[grid]\nk=3', 'list of values'),
    ('experiment="forget"\n[grid]\nk=[1]\n[fixed]\nk=2', 'both in'), ('experiment="forget"\ngrid=3',
    'must be a section'), ('experiment="forget"\nfixed=[1]', 'must be a section')])
def test_bad_configurations(text, msg, tmp_path):
    (tmp_path/'c.toml').write_text(text)
    with pytest.raises(ValueError, match=msg): read_config(tmp_path/'c.toml')
