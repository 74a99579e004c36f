"""Prints what TensorBoard shows in Scalars of a folder, read by its own loader, which checks the sums, as
{run: {"first": wall time, "curves": {tag: [[step, wall time, value]]}}}."""

import json
import sys

from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.scalar.metadata import PLUGIN_NAME
from tensorboard.util import tensor_util

multiplexer = EventMultiplexer()
multiplexer.AddRunsFromDirectory(sys.argv[1])
multiplexer.Reload()
runs = {}
for run in multiplexer.Runs():
    curves = {tag: [[e.step, e.wall_time, tensor_util.make_ndarray(e.tensor_proto).item()] for e in multiplexer.Tensors(run, tag)]
              for tag in multiplexer.PluginRunToTagToContent(PLUGIN_NAME)[run]}
    runs[run] = {"first": multiplexer.FirstEventTimestamp(run), "curves": curves}
print(json.dumps(runs))
