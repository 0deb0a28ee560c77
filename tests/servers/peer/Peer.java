// `java Peer.java`: com.sun.net.httpserver; `java Peer.java blocking`: ServerSocket, a thread for each. Who asks.
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;

public class Peer {
    static byte[] body(InetSocketAddress peer) {
        return (peer.getAddress().getHostAddress() + " " + peer.getPort() + "\n").getBytes();
    }

    public static void main(String[] words) throws Exception {
        InetAddress host = InetAddress.getByName(System.getenv("HOST"));
        int port = Integer.parseInt(System.getenv("PORT"));
        if (words.length > 0) {
            ServerSocket listener = new ServerSocket(port, 128, host);
            while (true) {
                Socket client = listener.accept();
                new Thread(() -> serve(client)).start();
            }
        }
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.createContext("/", exchange -> {
            byte[] body = body(exchange.getRemoteAddress());
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    static void serve(Socket client) {
        try (client) {
            BufferedReader in = new BufferedReader(new InputStreamReader(client.getInputStream()));
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                if (!line.isEmpty()) {
                    continue;
                }
                byte[] body = body((InetSocketAddress) client.getRemoteSocketAddress());
                client.getOutputStream().write(("HTTP/1.1 200 OK\r\nContent-Length: " + body.length + "\r\n\r\n").getBytes());
                client.getOutputStream().write(body);
            }
        } catch (Exception gone) {
            // the client has gone
        }
    }
}
