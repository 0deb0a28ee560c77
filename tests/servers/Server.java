// `java Server.java`: com.sun.net.httpserver (epoll); `java Server.java blocking`: ServerSocket.
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;

public class Server {
    static final String SLOT = System.getenv().getOrDefault("FORKFRONT_SLOT", "-");

    static byte[] body(String path) {
        return (SLOT + " " + ProcessHandle.current().pid() + " " + path.substring(1) + "\n").getBytes();
    }

    public static void main(String[] words) throws Exception {
        InetAddress host = InetAddress.getByName(System.getenv().getOrDefault("HOST", "127.0.0.1"));
        int port = Integer.parseInt(System.getenv("PORT"));
        if (words.length > 0) {
            block(new ServerSocket(port, 128, host));
            return;
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.createContext("/", exchange -> {
            byte[] body = body(exchange.getRequestURI().getPath());
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    static void block(ServerSocket listener) throws Exception {
        while (true) {
            try (Socket client = listener.accept()) {
                BufferedReader in = new BufferedReader(new InputStreamReader(client.getInputStream()));
                String path = String.valueOf(in.readLine()).split(" ")[1];
                for (String line = in.readLine(); line != null && !line.isEmpty(); line = in.readLine()) {
                }
                byte[] body = body(path);
                String head = "HTTP/1.1 200 OK\r\nContent-Length: " + body.length + "\r\nConnection: close\r\n\r\n";
                client.getOutputStream().write(head.getBytes());
                client.getOutputStream().write(body);
            } catch (Exception gone) {
                // the client has gone
            }
        }
    }
}
