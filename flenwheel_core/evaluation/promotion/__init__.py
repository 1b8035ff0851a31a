"""Who is promoted. `rule` is what both rules share and the case of the first turn, `characters` and `editors` are the two rules.

The margins of characters are keys of the recipe (`[benchmark]`), those of editors are named beside their rule.
"""
