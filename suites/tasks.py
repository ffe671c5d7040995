"""What several suites train: the recipes of the paper's released code, and tasks that are attacked in several ways.

On Purchase-100 and what has its form (its stand-in, Location-30) logistic regression and the network of two hidden
layers are trained by Adam; on ten classes of pictures all models by SGD; on a pair of classes logistic regression by
Adam.
"""

from gradshape.training import SGD, Adam, Recipe
from gradshape_bench import Smoke, Task

RECORDS_LR = Recipe("lr", Adam(0.04), batch_size=100, epochs=100)
RECORDS_MLP = Recipe("mlp", Adam(0.001), batch_size=100, epochs=100)
FASHION_MLP = Recipe("mlp", SGD(0.04), batch_size=100, epochs=100)
PICTURES_CNN = Recipe("cnn", SGD(0.02), batch_size=100, epochs=100)
PAIR_LR = Recipe("lr", Adam(0.01), batch_size=300, epochs=40)
# For data sets that the paper has not, and whose classes have a hundred rows or so.
SMALL_LR = Recipe("lr", Adam(0.01), batch_size=32, epochs=40)

FASHION_34 = Task("fashion_mnist_34", PAIR_LR, Smoke(train_rows=2400, epochs=15))
DIGITS_38 = Task("digits_38", SMALL_LR, Smoke(epochs=20))
DIGITS = Task("digits", SMALL_LR, Smoke(epochs=20))
