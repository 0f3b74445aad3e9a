"""The rules that every BUILD.ml sees without a load."""

load("//container.bzl", _container_environment = "container_environment")
load("//dataset.bzl", _dataset = "dataset")
load("//environment.bzl", _python_environment = "python_environment")
load("//general.bzl", _alias = "alias", _config_setting = "config_setting", _filegroup = "filegroup", _genrule = "genrule", _test_suite = "test_suite")
load("//notebook.bzl", _notebook = "notebook")
load("//report.bzl", _report = "report")
load("//script.bzl", _evaluate = "evaluate", _process = "process", _train = "train")
load("//sweep.bzl", _select_best = "select_best", _sweep = "sweep")

alias = _alias
config_setting = _config_setting
container_environment = _container_environment
dataset = _dataset
evaluate = _evaluate
filegroup = _filegroup
genrule = _genrule
notebook = _notebook
process = _process
python_environment = _python_environment
report = _report
select_best = _select_best
sweep = _sweep
test_suite = _test_suite
train = _train
