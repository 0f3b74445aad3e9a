"""The rules that every BUILD.ml sees without a load."""

load("//dataset.bzl", _dataset = "dataset")
load("//environment.bzl", _python_environment = "python_environment")
load("//general.bzl", _alias = "alias", _filegroup = "filegroup", _genrule = "genrule")
load("//script.bzl", _evaluate = "evaluate", _process = "process", _train = "train")

alias = _alias
dataset = _dataset
evaluate = _evaluate
filegroup = _filegroup
genrule = _genrule
process = _process
python_environment = _python_environment
train = _train
