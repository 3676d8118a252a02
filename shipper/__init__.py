"""shipper: moves log events from the machines that write them to the stores that keep them."""

__version__ = "0.1.0"
