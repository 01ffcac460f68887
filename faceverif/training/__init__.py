"""Training, the only place that knows Lightning Fabric.

What is where:

- A run: `loop` trains faces from a config to a run folder. `epochs` is the loop that it shares with
  `faceverif.classification.training`. `run_inputs` reads and checks everything first; `dry_run` and
  `rehearsal` say what a run would take.
- What learns: `learner` and `recognition_model`; `one_step` is their step, with `optimizer`, `schedule`,
  `clipping`, `adversarial` and `bounded`. `data`, `order` and `augmentation` make its batches, `randomness`
  its seeds. `layers` reads features inside a network. `magface_warnings` and `wsoftmax_warnings` know
  settings under which these losses fail.
- What other models give: `start_from`, `teachers`, and `frozen` with its stored features.
- What is written: `run_folder`, `checkpoint` and `logs` on the way, with `checks` for verifications;
  `finished_run` and `provenance` at the end. `refused_batch` keeps what stopped a run.
- Devices and processes: `fabric`, `processes`, `sharded_state`, `head_memory`; `stop` is for Ctrl-C.
- A head alone, on a finished model: `fit_head`.
"""
