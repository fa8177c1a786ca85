"Hand settings.ini to setuptools: what the package is and needs is written there and nowhere else"
from configparser import ConfigParser
from setuptools import setup

cfg = ConfigParser(interpolation=None)
cfg.read('settings.ini', encoding='utf-8')
s = cfg['DEFAULT']
setup(description=s['description'], keywords=s['keywords'].split(), author=s['author'], license=s['license'],
    install_requires=s['requirements'].split(), extras_require={n: s[f'{n}_requirements'].split() for n in ('hf', 'scale', 'site', 'dev')})
