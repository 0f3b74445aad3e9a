

# The digits: data, model, report.

load("//tools:plots.bzl", "histogram", curve = "line_chart", bars='bar_chart')
load(":local.bzl",   'shrink')
load("@rules//extra.bzl", "extra")
# This one speaks of what follows.
load("//tools:a.bzl", "a")
SEED=0
EPOCHS = 5


SIZES = [64,32,  10]
NAMES = ["a","b"]
PAIR = (1,2)
train(script="train.py",
  # What the run is called.
  name="lenet", srcs=glob(["lenet/*.py"],exclude=["lenet/old.py"]),params={"epochs":EPOCHS,"lr":.05,"layers":[3,-1]},
    data={'mnist':"//data:mnist"}, outs=["model.npz"],   # the weights
  tags=["slow","gpu"], visibility=["//reports:__pkg__","//:__subpackages__"],
  label = "{}-{}".format(NAMES[0],SEED+1), **COMMON)
report(name="summary",deps=["//z:z",":b",":a",
  # what the plots need
  "@plots//:lib","data.csv",
    "//a", SHARED],) # once a day
report(
    name = "in_order",
    deps = [
        # do not sort
        "b", "a"])
[train(script = "train.py", name = "lr_%s" % lr, params = {"lr": lr}) for lr in [0.1,0.2]]
filegroup(name="one")
filegroup(
  name="two")
genrule(
    name = generated_name(), cmd = 'tr a-z A-Z < $< > $@', outs = [], srcs = [
    ], message = 'say "hi"', title = 'it\'s')
x = [
  name for name in NAMES if name != "b"]
y = ("a" +
   "b" # two
 + "c")
filegroup(name   =   "three",srcs=["b","a"])  # fmt: skip
# buildifier: leave-alone
filegroup(name = "four",
          srcs = ["b",
                  "a"])

# The end.
