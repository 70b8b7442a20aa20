"""What a training script needs, in one import; needs the extra `gpuyard[train]`.

    import gpuyard.train as yard

    with yard.session(model, optimizer) as run:
        for batch in run.batches(dataset, batch_size=32):
            loss = model(batch)
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            run.report(loss=loss)
    run.save(model)

Alone on a laptop `session` changes nothing and needs no broker. On a host that GPUYard placed the script on, it
joins its site and the training rounds across sites.
"""

from gpuyard.node.training import session

__all__ = ["session"]
