"""Likes on a plane: t-SNE (van der Maaten and Hinton, 2008), from their principal components on."""

import numpy as np
from numpy.typing import NDArray

MIN_TSNE = 10  # of fewer a neighbourhood says nothing, and the principal components do


def plane(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Places (N, 2) of unit vectors (N, E), the same each time; a second for five hundred."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(vectors) < 3:
        return np.zeros((len(vectors), 2), np.float32)
    if len(vectors) < MIN_TSNE:
        places = PCA(2, random_state=0).fit_transform(vectors)
    else:
        perplexity = min(15.0, (len(vectors) - 1) / 3)
        places = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0).fit_transform(vectors)
    return np.asarray(places, np.float32)
