"""Attacks on linear regression, by Jagielski et al. 2018 and Diakonikolas et al. 2019."""
