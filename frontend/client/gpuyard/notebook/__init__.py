"""`%%yard`: train a notebook's cell where it is cheapest to finish. Loaded by `%load_ext gpuyard`.

options    what stands behind %%yard          magic      %%yard and %yard
reading    which names a cell reads, assigns  sources    where the notebook defined a name
gathering  what goes along with the cell      program    all of that, packed
page, curve  what is shown                    running    follow a run, choose a quote
returning  what comes home
"""
