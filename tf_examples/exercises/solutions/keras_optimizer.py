"""A Keras optimizer of your own: quasi-hyperbolic momentum, which Keras does not ship.

For a weight `w` with gradient `g`, one step is

    m <- beta * m + (1 - beta) * g  [momentum: mean]
    m <- beta * m + g  [momentum: sum]
    w <- w - learning_rate * ((1 - nu) * g + nu * m)

with `m` shaped like `w`, starting at 0, and the new `m` in the second line. nu = 0 is plain
gradient descent, nu = 1 momentum, and between them the step mixes the two.

An optimizer in Keras is a class with four methods:

    __init__     keeps the hyperparameters
    build        makes the state ("slots") for a list of variables, once
    update_step  one step of one variable
    get_config   the arguments of __init__ as a dictionary, for saving and loading

`update_step` is traced into a graph, so what should last from one step to the next must be a Keras
variable that `build` made; it changes by `self.assign`, and the weight by `self.assign_sub`. What
`get_config` leaves out is back at its default after loading.

Keras's own class has what a slot needs:

    self.add_variable_from_reference(variable, name="...")   a new slot of zeros shaped like it
    self._get_variable_index(variable)                       its place in the list given to build

How it is checked: QHM gets weights and the gradients of some steps, and its weights and slots are
compared after them; then it trains a small network by `fit`, which is saved, loaded, and trained
on.

Reference: J. Ma and D. Yarats, Quasi-hyperbolic momentum and Adam for deep learning, 2019,
section 3.  [momentum: mean]
section 3; there, m is a mean: (1 - beta) stands before g.  [momentum: sum]
"""

import keras


# Without this line a saved model could not be loaded again: Keras finds the class by its name.
@keras.saving.register_keras_serializable(package="exercises")
class QHM(keras.optimizers.Optimizer):
    """Quasi-hyperbolic momentum."""

    def __init__(self, learning_rate=0.01, beta=0.9, nu=0.7, name="qhm", **kwargs):
        """Keeps beta and nu; Keras's own class keeps the learning rate. Complete as it stands."""
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta = beta
        self.nu = nu

    def build(self, variables):
        """Makes one slot for each of `variables`, in their order."""
        if self.built:
            return
        super().build(variables)
        # solution: keep a list of slots shaped like the variables, all 0
        self._momentums = [
            self.add_variable_from_reference(variable, name="momentum") for variable in variables
        ]
        # end of solution

    def update_step(self, gradient, variable, learning_rate):
        """Changes `variable` and its slot by one step; returns nothing."""
        # solution: find the variable's slot, give it its new value, then move the variable
        m = self._momentums[self._get_variable_index(variable)]
        g = keras.ops.cast(gradient, m.dtype)
        lr = keras.ops.cast(learning_rate, m.dtype)
        self.assign(m, self.beta * m + (1 - self.beta) * g)  # [momentum: mean]
        self.assign(m, self.beta * m + g)  # [momentum: sum]
        self.assign_sub(variable, lr * ((1 - self.nu) * g + self.nu * m))
        # end of solution

    def get_config(self):
        """Returns the arguments that make this optimizer again."""
        # solution: take the dictionary of Keras's own class, and add what this class keeps
        return super().get_config() | {"beta": self.beta, "nu": self.nu}
        # end of solution
