"""Python runs this at the start of an agent that has this folder in its path: one more interceptor is there."""

import os

import shipper.interceptors

shipper.interceptors.__path__.append(os.path.join(os.path.dirname(__file__), "interceptors"))
