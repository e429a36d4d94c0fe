# A notebook: each `# %%` begins a cell. Open it in Jupyter, or in an editor that knows cells; they
# may await, because a notebook's kernel runs an event loop.

# %% One node for the notebook. To run the cell again gives the same one.
import asyncio

import hornbeam_erlang as hornbeam
from hornbeam_erlang import aio

node = hornbeam.start()
node

# %% The plain functions work in a cell: they keep it until the answer is there.
hornbeam.state_set("run", {"rate": 0.1, "losses": []})
hornbeam.state_get("run")


# %% A handler, for every program that shares the node's cluster, and for this one.
class Model:
    def predict(self, values):
        return [value * hornbeam.state_get("run")["rate"] for value in values]

    def train(self, steps):
        for step in range(steps):
            yield {"step": step, "loss": 1 / (step + 1)}


hornbeam.register_hook("model", Model)
hornbeam.execute("model", "predict", [10, 20])

# %% In the background while the notebook goes on: tasks, and awaited calls at once.
task = await aio.execute_async("model", "predict", [1, 2, 3])
rates = await asyncio.gather(*(aio.state_incr("calls") for _ in range(10)))
await aio.await_result(task)

# %% A stream, item by item.
losses = [item["loss"] async for item in aio.stream("model", "train", 4)]
losses

# %% It ends with the kernel; or now.
node.stop()
