"""Attribution: which touches earn a conversion, and why (pure).

    touches + conversion + rules -> eligibility.eligible() -> Outcome: the path, and every touch left out with its reason
    path -> a rule model         -> the share of each touch, exact fractions that sum to 1
    many paths -> any model      -> credit per channel; Markov and Shapley look at all paths at once
    credit -> splitting          -> integer minor units, only where money is shown or paid

`registry.MODELS` lists every model with its version.
"""
