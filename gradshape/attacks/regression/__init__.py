"""Attacks on linear regression, of Jagielski et al. 2018 and Diakonikolas et al. 2019, and the harm that they climb."""
