"""Reference implementations of the techniques that train deep networks, in NumPy.

One module a chapter, to be read on its own. Nothing here draws: pictures live in
`trainlab.explorers`, and the machinery that shows them in `explorables`.
"""
