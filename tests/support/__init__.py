"""What tests share: clients, clocks, scripted servers, pictures, processes."""
